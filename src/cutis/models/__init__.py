"""Networks: plain keywords in, logits out. Importing this package registers them."""

from cutis.models import lesion_net, sparsesegnet, symmetry_net, unets  # noqa: F401
