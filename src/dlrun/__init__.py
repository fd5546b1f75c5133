"""dlrun: the deep-learning lab of ISLP (chapter 10) as a command-line experiment runner."""

__version__ = "0.1.0"
