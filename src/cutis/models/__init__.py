"""Networks: plain keywords in, logits out. Importing this package registers them."""

from cutis.models import sparsesegnet  # noqa: F401
