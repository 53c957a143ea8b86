"""
Sine waves, for those who come from MAML
========================================

The example that everybody knows (Finn et al. 2017): each task is a sine wave of its own amplitude and phase, of which 5, 10 or
20 points are shown. A network that has seen many waves should need no more. In MAML it is a few gradient steps away from each
of them; here a linear head on its features has a *prior*, learned across waves, and a wave's model is the posterior.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from upstairs import MetaGradientRegressor
from upstairs.datasets import make_sinusoids

X, y, task, _ = make_sinusoids(400, 40, random_state=0)

# %%
# The network has two hidden layers of 40, as in the paper. 200 meta-steps of 25 waves each are all that it gets: most of the
# time goes into compiling.

meta = MetaGradientRegressor(
    network=(40, 40), n_pieces=0, n_folds=2, batch_tasks=25, n_steps=200, learning_rate=0.003, min_shots=5, weight_decay=0,
    random_state=0,
).fit(X, y, groups=task)  # fmt: skip

# %%
# A hundred new waves
# -------------------
# 40 points of each are asked about, after 5, 10 and 20 others. Beside it stand always saying zero, and MAML as
# ``benchmarks/sinusoids.py`` has it: the same network and the same waves, but 10,000 meta-steps and 4,000 waves to learn from.
# (``inner="maml"`` is how to have it here; it takes one to two minutes.)

new = make_sinusoids(100, 60, random_state=1)
place = np.arange(len(new.y)) % 60
asked = place >= 20
errors = {"always zero": [np.mean(new.y[asked] ** 2)] * 3, "MAML, 10,000 steps": [0.52, 0.26, 0.15], "posterior, 200 steps": []}
for shots in (5, 10, 20):
    models = meta.adapt_tasks(new.X[place < shots], new.y[place < shots], groups=new.groups[place < shots])
    wrong = models.predict(new.X[asked], groups=new.groups[asked]) - new.y[asked]
    errors["posterior, 200 steps"].append(np.mean(wrong**2))
print(pd.DataFrame(errors, index=pd.Index([5, 10, 20], name="points shown")).round(3))

# %%
# Two waves
# ---------
# After five points each. After so few meta-steps the features don't bend at the very ends as sines do, and the interval doesn't
# know that: calibrated is what it says on the whole, not at each x.

x = np.linspace(-5, 5, 100)
axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained", sharey=True)[1]
for wave, ax in zip((3, 5), axes, strict=True):
    shown = (new.groups == wave) & (place < 5)
    model = meta.adapt(new.X[shown], new.y[shown])
    amplitude, phase, _ = new.truth.tasks[wave]
    low, high = model.predict_interval(x[:, None], coverage=0.9).T
    ax.fill_between(x, low, high, color="#56B4E9", alpha=0.3, linewidth=0, label="90 % interval")
    ax.plot(x, amplitude * np.sin(x - phase), color="0.5", linestyle="--", label="truth")
    ax.plot(x, model.predict(x[:, None]), color="#0072B2", linewidth=2, label="after five points")
    ax.plot(new.X[shown], new.y[shown], "o", color="black", label="shown")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(frameon=False, ncols=2)

# %%
# Why so much better? All waves are a combination of sine and cosine, two features of which a task needs two weights. A network
# can find the features upstairs; given them, the weights are a regression that five points nearly settle, while gradient steps
# have to walk there. Where tasks are no combination of a few features the advantage is smaller; see
# :doc:`/docs/gradient` for both, and the benchmarks for waves whose frequency differs as well.
