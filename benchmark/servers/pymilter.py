"""The filter of the comparison on pymilter: a hook at every stage, the last one adds a header."""
import sys

import Milter


class Filter(Milter.Base):
    def connect(self, hostname, family, address):
        return Milter.CONTINUE

    def hello(self, name):
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.length = 0
        return Milter.REJECT if sender.endswith("@spam.example>") else Milter.CONTINUE

    def envrcpt(self, recipient, *parameters):
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    def header(self, name, value):
        self.length += len(value)
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    def body(self, chunk):
        self.length += len(chunk)
        return Milter.CONTINUE

    def eom(self):
        self.addheader("X-Benchmark", "yes")
        return Milter.CONTINUE

    def abort(self):
        return Milter.CONTINUE

    def close(self):
        return Milter.CONTINUE


Milter.factory = Filter
Milter.set_flags(Milter.ADDHDRS)
Milter.milter.setbacklog(4096)
Milter.runmilter("benchmark", sys.argv[1], 7200)
