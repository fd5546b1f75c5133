"""The only code that touches Lightning's Trainer."""
