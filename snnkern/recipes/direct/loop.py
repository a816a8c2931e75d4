"""The training loop: all steps of a configuration, on Lightning Fabric."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.data.samples import SampleSet
from snnkern.nn import Neuron, Rates, reset
from snnkern.recipes.direct import checkpoint, score
from snnkern.recipes.direct.config import Config
from snnkern.recipes.direct.objective import Inputs, Objective, teacher_of
from snnkern.recipes.direct.plan import Part, Plan

Tell = Callable[[str, float], None]
LOG_EVERY = 10  # steps: reading a loss waits for a GPU, summing it for all processes


class Loop:
    """One training: `run` takes the steps that are left of it.

    fabric: see `runtime.fabric`. net: the bare network. data: what it learns. out: the run's folder. checkpoint_every,
    workers, compile: see `runtime.Settings`. tell: called with what is being done and the share done.
    """

    def __init__(
        self, fabric: Any, config: Config, net: nn.Module, data: SampleSet, inputs: Inputs, out: Path, settings: Any
    ) -> None:
        self.fabric, self.config, self.data, self.out, self.settings = fabric, config, data, out, settings
        self.objective, self.inputs, self.bare = Objective(config, data, net), inputs, net
        if config.rate_penalty and (settings.compile or not any(isinstance(m, Neuron) for m in net.modules())):
            why = 'torch.compile drops the hooks' if settings.compile else f'{config.model} has no layers of nn.Neuron'
            raise ValueError(f'rate_penalty: rates cannot be seen here, {why}')
        self.teacher = fabric.to_device(teacher_of(net)).eval() if config.distill else None
        optimizer = optimizer_of(net, config)
        self.net, self.optimizer = fabric.setup(torch.compile(net) if settings.compile else net, optimizer)
        here = fabric.global_rank, fabric.world_size
        self.plan = Plan(len(data.train), config.batch, config.seed, *here)
        self.test_plan = Plan(len(data.test), config.batch, config.seed, *here)
        self.total = self.plan.steps * config.epochs
        self.state = checkpoint.State()
        self.after_step: Any = getattr(net, 'after_step', None)
        self.pending: list[Tensor] = []

    def run(self, tell: Tell) -> checkpoint.State:
        """Train to the end, from the folder's checkpoint where there is one.

        Raises FloatingPointError if the loss is not finite, and what checkpoints raise.
        """
        about = checkpoint.about(self.config, self.data.source)
        self.state = checkpoint.load(self.fabric, self.out, self.net, self.optimizer, about)
        step = self.fabric.to_device(torch.tensor(float(self.state.step)))
        done = self.fabric.all_reduce(step, reduce_op='mean')
        if done != self.state.step:
            raise checkpoint.CheckpointError(f'{self.out} is not the same for all processes: the disk must be shared')
        self.net.train()
        for epoch in range(self.state.step // self.plan.steps, self.config.epochs):
            start, seen, first = time.perf_counter(), 0, self.state.step - epoch * self.plan.steps
            for part in self.plan.epoch(self.data.train, epoch, first, self.settings.workers):
                self.step(part)
                seen += round(len(part.x) / part.share)
                step = self.state.step
                if step % LOG_EVERY == 0 or step % self.plan.steps == 0 or step % self.settings.checkpoint_every == 0:
                    self.log(epoch, seen / (time.perf_counter() - start), tell)
                if step % self.settings.checkpoint_every == 0 and step % self.plan.steps:
                    checkpoint.save(self.fabric, self.out, self.net, self.optimizer, self.state, about)
            self.end(epoch, seen / (time.perf_counter() - start))
            checkpoint.save(self.fabric, self.out, self.net, self.optimizer, self.state, about)
        return self.state

    def step(self, part: Part) -> None:
        """One step of the optimizer."""
        config, step = self.config, self.state.step
        torch.manual_seed(self.plan.seed_of(step) + self.fabric.global_rank)  # dropout has no state either
        for group in self.optimizer.param_groups:
            group['lr'] = group['initial_lr'] * factor(config, step, self.total)
        x, y = self.fabric.to_device((part.x, part.y))
        seq = self.inputs(x, part.offset)
        reset(self.bare)
        with Rates(self.bare) if config.rate_penalty else nullcontext() as seen:
            out = self.net(seq)
        with torch.no_grad():
            target = None if self.teacher is None else self.teacher(seq[0])
        loss = self.objective(out, y, () if seen is None else seen.rates, target)
        self.optimizer.zero_grad()
        # Processes average their gradients; each loss counts by its samples.
        self.fabric.backward(loss * (part.share * self.fabric.world_size))
        if config.clip:
            self.fabric.clip_gradients(self.net, self.optimizer, max_norm=config.clip)
        self.optimizer.step()
        if self.after_step:
            self.after_step()
        self.pending.append(loss.detach() * part.share)
        self.state.step += 1

    def log(self, epoch: int, speed: float, tell: Tell) -> None:
        """Sum the losses since the last time over all processes, and show where the training is."""
        losses = self.fabric.all_reduce(torch.stack(self.pending).float(), reduce_op='sum').tolist()
        self.pending.clear()
        first = len(self.state.losses)
        for i, loss in enumerate(losses, first):
            if not math.isfinite(loss):
                lr = self.config.learning_rate
                raise FloatingPointError(f'the loss became {loss} in step {i}: lower learning_rate, it is {lr}')
        self.state.losses += losses
        for i, loss in enumerate(losses, first):
            self.fabric.log_dict({'loss': loss, 'learning rate': factor(self.config, i, self.total)}, i)
        name, metric = next(iter(self.state.history[-1].items()), ('', 0)) if self.state.history else ('', 0.0)
        shown = f', {name} {metric:.4g}' if name else ''
        what = f'epoch {epoch + 1}/{self.config.epochs}, loss {losses[-1]:.4f}{shown}, {speed:.0f} samples/s'
        tell(what, self.state.step / self.total)

    def end(self, epoch: int, speed: float) -> None:
        """Measure an epoch's network on the test split."""
        if self.fabric.world_size > 1:
            # Where a norm saw its own part of a batch only, the first process' statistics count.
            for buffer in self.bare.buffers():
                torch.distributed.broadcast(buffer, 0)
        scores = score.scores_of(self.data, self.bare, self.fabric)
        # The bare network: processes may have different numbers of test batches, and DDP waits in each for the others.
        parts = self.test_plan.all(self.data.test, self.settings.workers)
        found = score.evaluate(self.bare, parts, self.inputs, scores, self.fabric)
        steps = self.state.losses[epoch * self.plan.steps :]
        row = {**found, 'loss': sum(steps) / len(steps), 'samples_per_second': round(speed, 1)}
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        self.fabric.log_dict({f'test/{name}': value for name, value in numbers.items()}, self.state.step)
        self.state.history.append({**row, 'epoch': epoch + 1})


def factor(config: Config, step: int, total: int) -> float:
    """What a step's learning rate is of the highest: rises over the warm-up, then falls along half a cosine."""
    rising = config.warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    if config.schedule == 'constant':
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (total - rising)))


def optimizer_of(net: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Of all parameters; a network may group them by `parameter_groups(learning_rate)`."""
    groups: Any = [{'params': [p for p in net.parameters() if p.requires_grad]}]
    grouped: Any = getattr(net, 'parameter_groups', None)
    groups = grouped(config.learning_rate) if grouped else groups
    options: dict[str, Any] = {'lr': config.learning_rate, 'weight_decay': config.weight_decay}
    if config.optimizer == 'sgd':
        made: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True, **options)
    else:
        made = {'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}[config.optimizer](groups, **options)
    for group in made.param_groups:
        group['initial_lr'] = group['lr']
    return made
