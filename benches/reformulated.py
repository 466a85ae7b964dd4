"""The network with the reformulations of ARCHITECTURE.md, as plain tensor operations that exporters and compilers of other engines take.

It computes what the published form computes, with about 1.0 instead of 1.4 G multiply-adds for small at 224: pools make no keys of pixels,
values are projected after they were summed, the mixer's projection stands in front of the dispatch, scales are folded into weights.
What is then left between it and our engine is the engine. One image at a time; no folds, no locality, alpha above 0.
"""
import torch
import torch.nn.functional as F
from torch import nn


def normalised(layer, x):
    """GroupNorm with one group over a whole map [N, C]."""
    variance, mean = torch.var_mean(x, correction=0)
    return (x - mean) * torch.rsqrt(variance + layer.eps) * layer.weight + layer.bias


class Mixer(nn.Module):
    """norm1, clustering, residual: [N, C] -> [N, C]."""

    def __init__(self, block):
        super().__init__()
        mixer, scale = block.token_mixer, block.layer_scale_1.detach()
        if mixer.sim_alpha <= 0 or mixer.fold != 1:
            raise ValueError("a mixer with folds or alpha <= 0 has no reformulated graph here")
        self.norm, self.alpha, self.beta = block.norm1, mixer.sim_alpha, mixer.sim_beta
        self.heads, self.side = mixer.heads, mixer.proposals
        matrix = {name: getattr(mixer, name).weight.detach().flatten(1) for name in ("f", "v", "proj")}
        self.keys = nn.Parameter(matrix["f"])
        self.keys_bias = mixer.f.bias
        wide, channels = matrix["v"].shape
        dim = wide // self.heads
        self.values = nn.Parameter(matrix["v"].reshape(self.heads, dim, channels).transpose(1, 2).contiguous())
        self.values_bias = nn.Parameter(mixer.v.bias.detach().reshape(self.heads, 1, dim))
        scaled = matrix["proj"] * scale[:, None]
        self.proj = nn.Parameter(scaled.reshape(channels, self.heads, dim).permute(1, 2, 0).contiguous())
        self.proj_bias = nn.Parameter(mixer.proj.bias.detach() * scale)

    def split(self, keys):
        """[rows, heads * d] -> [heads, rows, d]"""
        return keys.reshape(keys.shape[0], self.heads, -1).transpose(0, 1)

    def forward(self, x, height, width):
        rows, channels = x.shape
        centres = self.side * self.side
        y = normalised(self.norm, x)
        grid = y.transpose(0, 1).reshape(1, channels, height, width)
        pooled = F.adaptive_avg_pool2d(grid, self.side).flatten(2)[0].transpose(0, 1)
        keys = self.split(F.linear(y, self.keys, self.keys_bias))
        units = F.normalize(self.split(F.linear(pooled, self.keys, self.keys_bias)), dim=-1)
        best, assigned = torch.bmm(keys, units.transpose(1, 2)).max(dim=-1)
        weight = torch.sigmoid(self.beta + self.alpha * best / keys.norm(dim=-1).clamp_min(1e-12))
        slot = (assigned + centres * torch.arange(self.heads)[:, None]).flatten()
        sums = torch.zeros(self.heads * centres, channels).index_add(0, slot, y.repeat(self.heads, 1))
        counts = torch.zeros(self.heads * centres).index_add(0, slot, torch.ones(self.heads * rows))
        means = (pooled.repeat(self.heads, 1) + sums) / (1 + counts)[:, None]
        reps = torch.bmm(means.reshape(self.heads, centres, channels), self.values) + self.values_bias
        projected = torch.bmm(reps, self.proj).reshape(self.heads * centres, channels)
        taken = weight.flatten()[:, None] * projected[slot]
        return x + taken.reshape(self.heads, rows, channels).sum(0) + self.proj_bias


class Mlp(nn.Module):
    """norm2, MLP, residual: [N, C] -> [N, C]."""

    def __init__(self, block):
        super().__init__()
        scale = block.layer_scale_2.detach()
        self.norm, self.fc1 = block.norm2, block.mlp.fc1
        self.weight = nn.Parameter(block.mlp.fc2.weight.detach() * scale[:, None])
        self.bias = nn.Parameter(block.mlp.fc2.bias.detach() * scale)

    def forward(self, x):
        return x + F.linear(F.gelu(self.fc1(normalised(self.norm, x))), self.weight, self.bias)


class Pool(nn.Module):
    """[N, C] -> [N / 4, C']."""

    def __init__(self, pool):
        super().__init__()
        if pool.fold != 1 or pool.locality:
            raise ValueError("a pool with folds or locality has no reformulated graph here")
        self.norm, self.skip = pool.norm2, pool.conv_skip
        self.keys, self.keys_bias = nn.Parameter(pool.conv_f.weight.detach().flatten(1)), pool.conv_f.bias
        self.values, self.values_bias = nn.Parameter(pool.conv_v.weight.detach().flatten(1)), pool.conv_v.bias

    def forward(self, x, height, width):
        rows, channels = x.shape
        centres = rows // 4
        grid = x.transpose(0, 1).reshape(1, channels, height, width)
        pooled = F.avg_pool2d(grid, 2).flatten(2)[0].transpose(0, 1)
        units = F.normalize(F.linear(pooled, self.keys, self.keys_bias), dim=-1)
        scores = F.linear(x, units @ self.keys, units @ self.keys_bias)
        assigned = scores.argmax(dim=1)
        sums = torch.zeros(centres, channels).index_add(0, assigned, x)
        counts = torch.zeros(centres).index_add(0, assigned, torch.ones(rows))
        reps = F.linear((pooled + sums) / (1 + counts)[:, None], self.values, self.values_bias)
        return self.skip(grid).flatten(2)[0].transpose(0, 1) + normalised(self.norm, reps)


class Reformulated(nn.Module):
    """The whole of a published network, for images of one size: [1, 3, H, W] -> [1, classes]."""

    def __init__(self, model, height, width):
        super().__init__()
        proj = model.patch_embed.proj
        self.patch = nn.Parameter(proj.weight.detach()[:, :3].contiguous())
        rows = torch.arange(height) / (height - 1.0) - 0.5
        cols = torch.arange(width) / (width - 1.0) - 0.5
        position = torch.stack((rows[:, None].expand(height, width), cols[None].expand(height, width)))[None]
        with torch.no_grad():
            self.register_buffer("position", F.conv2d(position, proj.weight[:, 3:], proj.bias, stride=4))
        layers = []
        for layer in model.network:
            if isinstance(layer, nn.Sequential):
                for block in layer:
                    layers += [Mixer(block), Mlp(block)]
            else:
                layers.append(Pool(layer))
        self.layers = nn.ModuleList(layers)
        self.norm, self.head = model.norm, model.head

    def forward(self, image):
        grid = F.conv2d(image, self.patch, stride=4) + self.position
        height, width = grid.shape[2:]
        x = grid.flatten(2)[0].transpose(0, 1)
        for layer in self.layers:
            if isinstance(layer, Mlp):
                x = layer(x)
            else:
                x = layer(x, height, width)
            if isinstance(layer, Pool):
                height, width = height // 2, width // 2
        return self.head(normalised(self.norm, x).mean(0, keepdim=True))
