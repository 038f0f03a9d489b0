"""Networks: plain keywords in, logits out. Importing this package registers them."""

from cutis.models import (  # noqa: F401
    enet,
    fcn,
    lesion_net,
    lraspp,
    promptable,
    segformer,
    segnet,
    slsnet,
    slsnet_discriminator,
    sparsesegnet,
    symmetry_net,
    unets,
)
