"""The data plane before the engines: admits, queues fairly, routes, measures every request.

    client -> http/ -> openai/ -> gate -> http/ -> engine
                                   |
              admission/ (may it come in?)   queueing/ (who is next?)
              rooms      (is there a place?) routing/  (which replica?)

What decides is pure: no socket, no clock, no dice of its own. So the very code that decides in the
request path is replayed in the simulator.
"""
