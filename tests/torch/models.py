"""Five small models of different shapes: each gives a scalar loss."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class MLP(nn.Module):
    def __init__(self, width=48, depth=6):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x, target):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return F.mse_loss(x, target)


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(self.before(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(b, t, d)))
        return x + self.dropout(self.narrow(F.gelu(self.wide(self.between(x)))))


class GPT(nn.Module):
    def __init__(self, layers=3, width=32, heads=4, vocabulary=61, length=32, dropout=0.1):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens, target):
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), target.flatten())


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.b = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm_a, self.norm_b = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(x + self.norm_b(self.b(F.relu(self.norm_a(self.a(x))))))


class ResNet(nn.Module):
    def __init__(self, blocks=3, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 10)

    def forward(self, x, target):
        return F.cross_entropy(self.head(self.blocks(self.stem(x)).mean((2, 3))), target)


class UNet(nn.Module):
    def __init__(self, width=8, depth=2):
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        self.into = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(widths[k], widths[k + 1], 3, padding=1) for k in range(depth)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[k + 1], widths[k], 2, 2) for k in range(depth)
        )
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x, target):
        y, kept = self.into(x), []
        for layer in self.down:
            kept.append(y)
            y = F.max_pool2d(F.silu(layer(y)), 2)
        for k in reversed(range(len(self.up))):
            y = F.silu(self.up[k](y)) + kept[k]
        return F.mse_loss(self.out(y), target)


class LSTM(nn.Module):
    """A recurrent net written out: many small steps that read the same weights."""

    def __init__(self, width=16, steps=5):
        super().__init__()
        self.steps, self.gates = steps, nn.Linear(2 * width, 4 * width)

    def forward(self, x, target):
        h = c = torch.zeros_like(x)
        for _ in range(self.steps):
            i, f, g, o = self.gates(torch.cat([x, h], -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return F.mse_loss(h, target)


def example(name):
    """A model by name, seeded, and its inputs."""
    torch.manual_seed(0)
    match name:
        case "mlp":
            return MLP(), (torch.randn(512, 48), torch.randn(512, 48))
        case "gpt":
            return GPT(), (torch.randint(0, 61, (8, 32)), torch.randint(0, 61, (8, 32)))
        case "resnet":
            return ResNet(), (torch.randn(4, 3, 16, 16), torch.randint(0, 10, (4,)))
        case "unet":
            return UNet(), (torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32))
        case _:
            return LSTM(), (torch.randn(128, 16), torch.randn(128, 16))


NAMES = ("mlp", "gpt", "resnet", "unet", "lstm")


def step(call, model, inputs, state=None):
    """Loss, gradients and buffers of one seeded training step, and the bytes autograd saves."""
    if state is not None:
        model.load_state_dict(state)
    model.zero_grad()
    torch.manual_seed(7)
    mine = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *inputs)}
    mine |= {b.untyped_storage().data_ptr() for b in model.buffers()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in mine:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = call(*inputs)
    loss.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    return [loss.detach(), *gradients, *(b.clone() for b in model.buffers())], sum(
        storages.values()
    )
