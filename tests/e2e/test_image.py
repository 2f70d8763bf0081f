"""The container image, built without a daemon and started as it is.

The build stage needs a base image from a registry. Its one RUN line is executed by `tests/run` on this machine
instead; the final stage, which is what users run, is built from the Dockerfile as written.
"""

import os
import re
import subprocess
import textwrap

from support import ROOT, EndToEnd, Process, curl, free_port, shutil, unittest, wait_until


class Image(EndToEnd):
    def buildah(self, *arguments):
        command = [str(part) for part in ("buildah", "--storage-driver", "vfs", "--root", self.directory / "storage",
                                          "--runroot", self.directory / "run", *arguments)]
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)
        if done.returncode:
            self.fail(f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}")
        return done.stdout.decode().strip()

    def build(self):
        final = re.split(r"^(?=FROM )", (ROOT / "Dockerfile").read_text(), flags=re.M)[-1]
        self.assertTrue(final.startswith("FROM scratch"), final)
        source = re.search(r"^COPY --from=build /src/(\S+) /torwart$", final, re.M)[1]
        context = self.directory / "context"
        (context / source).parent.mkdir(parents=True)
        shutil.copy(ROOT / source, context / source)
        (context / "Dockerfile").write_text(final.replace("COPY --from=build /src/", "COPY "))
        self.buildah("bud", "--isolation", "chroot", "--format", "docker", "-t", "torwart", context)

    def test_the_image_is_one_static_binary_that_runs_as_nobody_and_answers_its_health_check(self):
        self.build()
        settings = self.buildah("inspect", "--type", "image", "--format",
                                "{{.Docker.Config.User}} {{.Docker.Config.Healthcheck.Test}}", "torwart")
        for expected in ("65532:65532", "/torwart health"):
            self.assertIn(expected, settings)
        container = self.buildah("from", "--pull-never", "torwart")
        mounted = self.buildah("mount", container)
        files = subprocess.run(["find", mounted, "-type", "f"], capture_output=True, check=True).stdout.decode().split()
        self.assertEqual(files, [f"{mounted}/torwart"])
        self.assertIn("static", subprocess.run(["file", "-L", files[0]], capture_output=True, check=True).stdout.decode())

        port, admin, upstream = free_port(), free_port(), self.start_gunicorn()
        settings = self.directory / "etc"
        (settings / "policies").mkdir(parents=True)
        # `localhost` has to be looked up inside the image, which has no resolver libraries of its own.
        (settings / "torwart.yaml").write_text(textwrap.dedent(f"""\
            version: 1
            listeners: [{{address: "127.0.0.1:{port}"}}]
            upstreams: {{api: {{endpoints: ["http://localhost:{upstream}"]}}}}
            admin: {{address: "127.0.0.1:{admin}"}}
            """))
        (settings / "policies/api.yaml").write_text(textwrap.dedent("""\
            version: 1
            policy: api
            hosts: ["*"]
            upstream: api
            routes: [{path: "/{*rest}", methods: [GET], unbound: [rest], require: public}]
            """))
        run = ["buildah", "--storage-driver", "vfs", "--root", self.directory / "storage", "--runroot", self.directory / "run",
               "run", "--isolation", "chroot", "-v", f"{settings}:/etc/torwart:ro", container, "--", "/torwart"]
        run = [str(part) for part in run]
        gateway = Process("image", [*run, "run"], self.directory, port)
        self.addCleanup(gateway.stop)
        answer = wait_until(lambda: curl([f"http://127.0.0.1:{port}/hello"]), "an answer")
        self.assertEqual(answer.status, 200, f"{answer}\n{gateway.output()}")
        self.assertEqual(answer.json()["uri"], "/hello")
        health = subprocess.run([*run, "health"], capture_output=True, timeout=60, check=False)
        self.assertEqual(health.returncode, 0, health)
        gateway.stop()
        health = subprocess.run([*run, "health"], capture_output=True, timeout=60, check=False)
        self.assertEqual(health.returncode, 1, health)


if __name__ == "__main__":
    unittest.main()
