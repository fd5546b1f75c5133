"""`dlrun report`: runs told on one page that needs nothing from outside."""
