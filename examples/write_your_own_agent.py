"""Write a scheduler of your own and compare it with two that come with the package.

python examples/write_your_own_agent.py
"""

from typing import ClassVar

import numpy as np

from agents import Agent, run_experiment
from agents.statistics import compare_agents
from edgecloud_gym.nodes import TO_CLOUD, TO_EDGE, WAIT


class Remember(Agent):
    """Remembers how long each prompt took; the quickest go to the edge, the next to the cloud.

    A prompt that it has not seen counts as the quickest: so it soon knows them all.
    """

    name: ClassVar[str] = "remember"

    def reset(self, env, seed):
        """Begins an episode, knowing nothing."""
        super().reset(env, seed)
        self.times = np.zeros(len(self.env.dataset))  # s, by dataset row

    def act(self, observation, info, explore=True):
        """Chooses a node, or to wait, for each of the M candidates."""
        del info, explore  # unknown prompts are tried first in any case
        config = self.env.config
        rows = observation["prompt_ids"]  # -1 where there is no candidate
        times = np.where(rows >= 0, self.times[rows], np.inf)
        quickest_first = np.argsort(times, kind="stable")[: (rows >= 0).sum()]

        edge_room, cloud_room = self.env.room()  # requests that each node takes now
        batch = min(edge_room, config.edge_batch_capacity)
        action = np.full(len(rows), WAIT)
        action[quickest_first[:batch]] = TO_EDGE
        action[quickest_first[batch : batch + cloud_room]] = TO_CLOUD
        return action

    def observe(self, completions):
        """Takes note of what has finished since the last step."""
        self.times[completions["row"]] = completions["base_latency"]
        return False  # nothing to rank anew: the queue is in order of arrival


if __name__ == "__main__":
    result = run_experiment(
        "EdgeCloud-Static-v0",
        agents=["fcfs", Remember, "sjf-oracle"],
        seeds=5,
        env_kwargs={"load": 0.95, "observe": "id"},
        output_dir="results/write_your_own_agent",
    )
    print("mean JCT (s), 95 % interval, interquartile mean, paired difference from fcfs")
    table = compare_agents(result.summary, metric="jct_mean", baseline="fcfs")
    print(table.drop(columns="env").round(2).to_string(index=False, na_rep="–"))
