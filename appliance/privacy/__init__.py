"""What may leave the box about whom: site-local pseudonyms instead of identifiers."""

from appliance.privacy.pseudonyms import Pseudonyms, site_secret

__all__ = ["Pseudonyms", "site_secret"]
