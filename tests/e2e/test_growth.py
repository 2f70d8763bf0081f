"""Counts what one request costs, in instructions of the release build, when there is more of something than one: routes, policy
documents, connections. `TORWART_GROWTH=all` asks for more of each, which takes some minutes.
"""

import json
import os

from counted import Counted
from support import unittest

ALL = os.environ.get("TORWART_GROWTH") == "all"
REQUESTS = 100

DOCUMENT = """\
version: 1
policy: policy-{name}
hosts: [api.example.com]
upstream: api
routes:
"""
ROUTE = '  - {{path: "/orders-{number}/{{order}}", methods: [GET], unbound: [order], require: {{scope: orders}}}}\n'


def documents(routes, count):
    """So many routes in so many documents."""
    each = routes // count
    return {
        f"{name:02}.yaml": DOCUMENT.format(name=name) + "".join(ROUTE.format(number=f"{number:05}") for number in range(name * each, (name + 1) * each))
        for name in range(count)
    }


class Growth(Counted):
    def least(self, requests):
        """What each of these requests costs, without what the gateway does now and then beside them, such as looking at its files."""
        return min(self.count(requests) for _ in range(4))

    def cost(self, policies, last):
        """What a request for one of the last routes costs."""
        self.start_counted(policies)
        token = self.token()
        with self.connect() as connection:
            ask = lambda: self.ask_over(connection, f"/orders-{last:05}/4711", token)
            for _ in range(30):
                ask()
            cost = self.least([ask] * REQUESTS)
        self.gateway.stop()
        return cost

    def compare(self, costs, most):
        print(json.dumps(costs))
        least = min(costs.values())
        self.assertLessEqual(max(costs.values()), least * most, costs)

    def test_a_request_costs_the_same_however_many_routes_there_are(self):
        routes = [10, 100, 1000, 10_000] if ALL else [10, 1000]
        self.compare({count: self.cost(documents(count, 1), count - 1) for count in routes}, 1.03)

    def test_a_request_costs_the_same_however_many_documents_there_are(self):
        counts = [1, 10, 50] if ALL else [1, 50]
        self.compare({count: self.cost(documents(100, count), 99) for count in counts}, 1.03)

    def test_a_request_costs_nearly_the_same_however_many_connections_there_are(self):
        self.start_counted(documents(100, 1))
        token = self.token()
        costs = {}
        for count in [1, 100, 5000] if ALL else [1, 100]:
            ask = lambda connection: self.ask_over(connection, "/orders-00099/4711", token)
            connections = []
            for _ in range(count):
                connections.append(self.connect())
                ask(connections[-1])
            costs[count] = self.least([lambda connection=connection: ask(connection) for connection in connections * max(1, REQUESTS // count)])
            for connection in connections:
                connection.close()
        self.compare(costs, 1.25)


if __name__ == "__main__":
    unittest.main()
