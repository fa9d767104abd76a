"""Ways a report leaves: e-mail, chats, webhooks, object stores, folders. Each is one small file."""
