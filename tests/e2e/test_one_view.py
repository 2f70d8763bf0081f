"""A small run of `tests/oneview`: real servers read no request otherwise than the gateway, and honest requests pass."""

from types import SimpleNamespace

from support import EndToEnd, unittest

from one_view import bench, sites


class OneView(EndToEnd):
    def test_no_server_serves_what_the_gateway_has_not_allowed_and_honest_requests_pass(self):
        options = SimpleNamespace(count=1500, control=800, sites=",".join(sites.PRESETS), quirks=None, seed="small", workers=3, show=3)
        rows = bench.prove(type(self), options)
        self.assertEqual(list(bench.failures(rows)), [])
        self.assertGreaterEqual(min(row["honest"] for row in rows), 300)


if __name__ == "__main__":
    unittest.main()
