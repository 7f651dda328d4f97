"""Who may ask, and how much: API keys, their scopes, rates and quotas, and whose request is being answered."""
