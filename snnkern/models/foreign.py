"""Networks of other packages, imported when they are asked for."""

from collections import OrderedDict

from torch import nn


def torchvision_resnet(name: str, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
    """torchvision's 'resnet50' or 'resnet101': 7 x 7 stem, max-pool, bottlenecks, untrained.

    in_channels: of the stem, which is made anew where it is not 3. num_classes: number of logits. Input
    [B, in_channels, H, W], 224 x 224 usually; output logits [B, num_classes]. Raises ImportError, naming the
    extra, without torchvision.

    Source: He et al., arXiv 1512.03385. Example: `torchvision_resnet('resnet50', num_classes=100)`.
    """
    try:
        from torchvision import models
    except ImportError:
        raise ImportError(f"{name} needs torchvision: pip install 'snnkern[vision]'") from None
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
    if in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    return net


def clip_rn50(num_classes: int = 10, pretrained: str | None = None) -> nn.Module:
    """CLIP's RN50 image tower of open_clip and a linear layer on its embedding.

    num_classes: number of logits. pretrained: open_clip's name of trained weights ('openai'), or a file;
    None: untrained. Input [B, 3, 224, 224], output logits [B, num_classes]; children `visual` and
    `classifier`. Raises ImportError, naming the extra, without open_clip.

    Source: Radford et al., arXiv 2103.00020. Example: `clip_rn50()(torch.rand(2, 3, 224, 224))`.
    """
    try:
        import open_clip
    except ImportError:
        raise ImportError("clip-rn50 needs open_clip: pip install 'snnkern[clip]'") from None
    clip = open_clip.create_model('RN50', pretrained=pretrained)
    return nn.Sequential(
        OrderedDict(visual=clip.visual, classifier=nn.Linear(int(clip.visual.output_dim), num_classes))
    )
