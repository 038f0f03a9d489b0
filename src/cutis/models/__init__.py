"""Networks: plain keywords in, logits out. Importing this package registers them."""

from cutis.models import lesion_net, slsnet, slsnet_discriminator, sparsesegnet, symmetry_net, unets  # noqa: F401
