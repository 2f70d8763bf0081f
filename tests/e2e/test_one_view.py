"""A small run of `tests/oneview`: real servers read no request otherwise than the gateway, and honest requests pass."""

import shutil
from types import SimpleNamespace

from support import EndToEnd, unittest

from one_view import bench, sites


class OneView(EndToEnd):
    def test_no_server_serves_what_the_gateway_has_not_allowed_and_honest_requests_pass(self):
        # Go takes longer to install than all others together.
        chosen = ",".join(name for name in sites.PRESETS if name != "go" or shutil.which("go"))
        options = SimpleNamespace(count=1000, control=600, sites=chosen, quirks=None, seed="small", workers=3, show=3)
        rows = bench.prove(type(self), options)
        self.assertEqual(list(bench.failures(rows)), [])
        self.assertGreaterEqual(min(row["honest"] for row in rows), 300)


if __name__ == "__main__":
    unittest.main()
