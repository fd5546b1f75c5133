"""Trading volume of the New York Stock Exchange by linear autoregression (ISLP, lab 10.9.6).

15 columns: return, volume and volatility of the five days before. The test R² is .4129, and .4596
with --day-of-week, as in the book; yesterday's volume alone has .1803. 2 seconds of one core.
`dlrun nyse-linear` is the same fit.
"""

import argparse

from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from dlrun import datasets

DAY_OF_WEEK = False  # data.day_of_week
MONTH = False  # data.month


def fit(train, test):
    """Return R² of the test days."""
    predicted = LinearRegression().fit(train.X, train.y).predict(test.X)
    return r2_score(test.y, predicted)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--day-of-week", action="store_true", default=DAY_OF_WEEK)
    parser.add_argument("--month", action="store_true", default=MONTH)
    parser.add_argument("--sample", action="store_true", help="generated data")
    options = parser.parse_args()

    days = datasets.nyse(
        day_of_week=options.day_of_week, month=options.month, sample=options.sample
    )
    yesterday = days.test.X[:, days.columns.index("log_volume_1")]
    print(f"yesterday's volume as the prediction: R² {r2_score(days.test.y, yesterday):.4f}")
    print(f"test r2 {fit(days.train, days.test):.4f}")


if __name__ == "__main__":
    main()
