"""Train networks: this package is the only code that uses Lightning's Trainer."""
