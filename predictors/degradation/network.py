"""The networks, in torch: the dual-branch transformer, and the LSTM and the TCN beside it.

All take channels `(n, t, c)` scaled to about one, which of them are known, and which steps there
are, and answer rising logits `(n, k)`, one a level. Positions count back from the newest step.
Imported only where a network is trained or asked: torch is an extra.

Sources: CloudFormer (arXiv 2509.03394 v2) for the two branches and the head; Bai, Kolter, Koltun
(2018), An empirical evaluation of generic convolutional and recurrent networks, for the TCN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LONGEST = 512


@dataclass(frozen=True, slots=True)
class Size:
    """How large a dual-branch transformer is.

    Attributes:
        width: of the temporal branch.
        system_width: of the system branch.
        blocks: encoder blocks of each branch.
        heads: of attention; the system branch of width 1 has one.
        feed_forward: hidden units of a block, as a multiple of 64.
        is_named: whether a metric's token knows which metric it is, and how much it moved. The
            paper's does neither, so that two metrics with equal means are one to it.
        dropout: inside the blocks.
        head_dropout: before the last layer.
    """

    width: int = 32
    system_width: int = 32
    blocks: int = 2
    heads: int = 4
    feed_forward: int = 128
    is_named: bool = True
    dropout: float = 0.1
    head_dropout: float = 0.4


# "~228 k parameters: temporal ~222 k, system ~6 k" has two readings: a system branch of width 1
# adds up to it, one of the stated width 64 does not. The small one is ours.
SIZES = {
    "small": Size(),
    "paper": Size(64, 1, 4, 4, 256, is_named=False),
    "wide": Size(64, 64, 4, 4, 256, is_named=False),
}


class Block(nn.Module):
    """Attention and two dense layers, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.dense = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, absent: Tensor) -> Tensor:
        """(n, t, d), (n, t) true where nothing is -> (n, t, d)."""
        asked = self.before_attention(tokens)  # (n, t, d)
        seen, _ = self.attention(asked, asked, asked, key_padding_mask=absent, need_weights=False)
        tokens = tokens + self.dropout(seen)  # (n, t, d)
        added: Tensor = self.dense(self.before_dense(tokens))  # (n, t, d)
        answer: Tensor = tokens + self.dropout(added)
        return answer


class Encoder(nn.Module):
    """A class token before the others, through all blocks; what it has become."""

    def __init__(self, width: int, blocks: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        made = [Block(width, heads, hidden, dropout) for _ in range(blocks)]
        self.blocks = nn.ModuleList(made)

    def forward(self, tokens: Tensor, absent: Tensor) -> Tensor:
        """(n, t, d), (n, t) -> (n, d)."""
        rows = len(tokens)
        first = self.token.expand(rows, 1, -1)  # (n, 1, d)
        tokens = torch.cat([first, tokens], dim=1)  # (n, 1 + t, d)
        there = torch.zeros(rows, 1, dtype=torch.bool)  # (n, 1)
        absent = torch.cat([there, absent], dim=1)  # (n, 1 + t)
        for block in self.blocks:
            tokens = block(tokens, absent)  # (n, 1 + t, d)
        answer: Tensor = tokens[:, 0]
        return answer  # (n, d)


class DualBranch(nn.Module):
    """One branch attends over time, the other over metrics; a head joins the two class tokens."""

    def __init__(self, channels: int, levels: int, size: Size) -> None:
        super().__init__()
        self.size = size
        wide, narrow = size.width, size.system_width
        self.dense = nn.Linear(channels, wide)
        self.temporal = Encoder(wide, size.blocks, size.heads, size.feed_forward, size.dropout)
        heads = size.heads if narrow % size.heads == 0 else 1
        self.metric = nn.Linear(2 if size.is_named else 1, narrow)
        self.identity = (
            nn.Parameter(0.5 * torch.randn(1, channels, narrow)) if size.is_named else None
        )
        self.system = Encoder(narrow, size.blocks, heads, size.feed_forward, size.dropout)
        self.head = nn.Sequential(
            nn.Linear(wide + narrow, 64), nn.SiLU(), nn.LayerNorm(64), nn.Dropout(size.head_dropout)
        )
        self.answer = nn.Linear(64, levels)
        self.register_buffer("positions", sinusoids(LONGEST, wide), persistent=False)

    def forward(self, values: Tensor, known: Tensor, steps: Tensor) -> Tensor:
        """(n, t, c), (n, t, c), (n, t) -> (n, k)."""
        tokens = torch.relu(self.dense(values))  # (n, t, d)
        tokens = tokens + self.positions[age(steps)]  # type: ignore[index]  # (n, t, d)
        over_time = self.temporal(tokens, ~steps)  # (n, d)
        mean, spread = moments(values, known)  # (n, c), (n, c)
        told = [mean, spread] if self.size.is_named else [mean]
        metrics = self.metric(torch.stack(told, dim=-1))  # (n, c, s)
        if self.identity is not None:
            metrics = metrics + self.identity  # (n, c, s)
        absent = ~known.any(dim=1)  # (n, c): a metric that was never sampled is no token
        over_metrics = self.system(metrics, absent)  # (n, s)
        joined = self.head(torch.cat([over_time, over_metrics], dim=-1))  # (n, 64)
        return rising(self.answer(joined))  # (n, k)


class Recurrent(nn.Module):
    """An LSTM over the steps, answering from its state at the last one."""

    def __init__(self, channels: int, levels: int, width: int = 48) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, width, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.answer = nn.Linear(width, levels)

    def forward(self, values: Tensor, known: Tensor, steps: Tensor) -> Tensor:
        """(n, t, c), (n, t, c), (n, t) -> (n, k)."""
        states, _ = self.lstm(values)  # (n, t, d)
        last = (steps.sum(dim=1) - 1).clamp(min=0)  # (n,)
        state = states[torch.arange(len(values)), last]  # (n, d)
        return rising(self.answer(self.dropout(state)))  # (n, k)


class Convolutional(nn.Module):
    """A TCN: dilated causal convolutions with a way around each, averaged over the steps."""

    def __init__(self, channels: int, levels: int, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, width, 1)
        made = [nn.Conv1d(width, width, 3, dilation=2**number) for number in range(depth)]
        self.layers = nn.ModuleList(made)
        self.dropout = nn.Dropout(0.2)
        self.answer = nn.Linear(width, levels)

    def forward(self, values: Tensor, known: Tensor, steps: Tensor) -> Tensor:
        """(n, t, c), (n, t, c), (n, t) -> (n, k)."""
        there = steps[:, None, :].to(values.dtype)  # (n, 1, t)
        seen = self.first(values.transpose(1, 2)) * there  # (n, d, t)
        for number, layer in enumerate(self.layers):
            before = nn.functional.pad(seen, (2 * 2**number, 0))  # (n, d, t + 2 * dilation)
            seen = (seen + self.dropout(torch.relu(layer(before)))) * there  # (n, d, t)
        mean = seen.sum(dim=2) / there.sum(dim=2).clamp(min=1)  # (n, d)
        return rising(self.answer(mean))  # (n, k)


def sinusoids(steps: int, width: int) -> Tensor:
    """Positions as (steps, width). Source: Vaswani et al. (2017), Attention is all you need."""
    at = torch.arange(steps, dtype=torch.float32)[:, None]  # (t, 1)
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))  # (d / 2,)
    made = torch.zeros(steps, width)  # (t, d)
    made[:, 0::2] = torch.sin(at * rates)
    made[:, 1::2] = torch.cos(at * rates)
    return made


def age(steps: Tensor) -> Tensor:
    """How many steps before the newest each is; 0 for padding. (n, t) -> (n, t)."""
    length = steps.sum(dim=1, keepdim=True)  # (n, 1)
    return (length - 1 - torch.arange(steps.shape[1])).clamp(min=0)  # (n, t)


def moments(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over time of what is known: (n, c) each, 0 where nothing is."""
    count = known.sum(dim=1).clamp(min=1)  # (n, c)
    there = known.to(values.dtype)  # (n, t, c)
    mean = (values * there).sum(dim=1) / count  # (n, c)
    apart = (values - mean[:, None, :]) * there  # (n, t, c)
    return mean, ((apart**2).sum(dim=1) / count + 1e-12).sqrt()


def rising(raw: Tensor) -> Tensor:
    """Logits that rise with the level: the first, then what each adds. (n, k) -> (n, k)."""
    steps = nn.functional.softplus(raw[:, 1:])  # (n, k - 1)
    return torch.cat([raw[:, :1], raw[:, :1] + steps.cumsum(dim=1)], dim=1)  # (n, k)


def parameters_of(network: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def build(method: str, channels: int, levels: int) -> nn.Module:
    """The network of a method: a size of the transformer, "lstm" or "tcn"."""
    if method == "lstm":
        return Recurrent(channels, levels)
    if method == "tcn":
        return Convolutional(channels, levels)
    return DualBranch(channels, levels, SIZES[method])
