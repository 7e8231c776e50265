/** What the program says when it cannot listen, cannot connect, waits, or runs on an old Node: each its own reason and advice. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import * as MilterServer from "effect-milter/MilterServer"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Module from "node:module"
import type * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { glob, manifest, read, root } from "../../scripts/repository.ts"
import { parseDuration } from "../../src/cli/flags/specs.ts"
import { oldestText, tooOld } from "../../src/cli/nodeVersion.ts"
import { unreachable } from "../../src/cli/trouble/clientTrouble.ts"
import { listenTrouble } from "../../src/cli/trouble/listenTrouble.ts"
import { describeWith, notRoot } from "../../testbed/prerequisite.ts"
import { command, complains, type Ran, runAll } from "../support/commandLine.ts"
import * as Listeners from "../support/listeners.ts"

describe("an address that cannot be listened on", () => {
  const cases: ReadonlyArray<readonly [MilterServer.ListenError["reason"], address: string, expected: string]> = [
    [
      "AddressInUse",
      "inet:9000@127.0.0.1",
      "address already in use: stop the program that listens there (ss -ltnp shows it), or give --listen another port"
    ],
    [
      "AddressInUse",
      "unix:/run/f.sock",
      "address already in use: stop the program that listens there (ss -lxp shows it), or give --listen another path"
    ],
    [
      "AddressNotAvailable",
      "inet:9000@192.0.2.1",
      "this host has no such address: give --listen an address of this host (ip address shows them), or 127.0.0.1"
    ],
    [
      "PermissionDenied",
      "inet:25@127.0.0.1",
      "permission denied: only root may listen on ports below 1024: give --listen a higher one"
    ],
    [
      "PermissionDenied",
      "inet:9000@127.0.0.1",
      "permission denied: the system forbids this port to this user: give --listen another one, or allow it (with SELinux: semanage port)"
    ],
    [
      "PermissionDenied",
      "unix:/run/f.sock",
      "permission denied: this user may not write to /run: run as its owner, or give --listen a path in another directory"
    ],
    [
      "DirectoryMissing",
      "unix:/run/filter/f.sock",
      "the directory of the socket does not exist: /run/filter is no directory: make it (mkdir -p; with systemd RuntimeDirectory=), or correct --listen"
    ],
    [
      "UnknownHost",
      "inet:9000@mx.invalid",
      "there is no host of this name: correct the name, or give --listen an IP address"
    ],
    [
      "NotASocket",
      "unix:/etc/passwd",
      "there is a file that is not a socket: remove the file, or give --listen another path"
    ],
    [
      "NotPassed",
      "systemd",
      "the process was not started with this socket: start the program by its systemd socket unit, or give --listen an address"
    ],
    [
      "UnknownOwner",
      "unix:/run/f.sock",
      "there is no such owner or group: correct the owner or the group of the socket"
    ],
    [
      "WorkersNotSupported",
      "inet:9000",
      "only Node gives a socket to several processes: run the program with Node, or without --workers"
    ],
    ["InvalidAddress", "unix:/x", "not an address to listen on: correct --listen"],
    ["Other", "inet:9000", "the system refused it: correct --listen"]
  ]
  for (const [reason, address, expected] of cases) {
    it(`${reason}: ${address}`, () => {
      const error = new MilterServer.ListenError({ address, reason, cause: undefined })
      assert.strictEqual(listenTrouble(error).message, `cannot listen on ${address}: ${expected}`)
    })
  }

  it("has an advice of its own for each reason", () => {
    const texts = cases.map(([, , text]) => text)
    assert.strictEqual(new Set(texts).size, texts.length)
  })

  it.live("is told apart by the system, too", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const file = Path.join(directory, "file")
      Fs.writeFileSync(file, "")
      const inUse = yield* Listeners.bare({ path: Path.join(directory, "used.sock") }, (socket) => void socket.resume())
      const upstream = `unix:${inUse.address() as string}` // it listens on a path
      const trace = (listen: string) => ["trace", "--listen", listen, "--upstream", upstream]
      const expected: ReadonlyArray<readonly [listen: string, RegExp]> = [
        [upstream, /already in use: .*another path$/m],
        ["inet:0@192.0.2.1", /has no such address: /],
        ["inet:0@host.invalid", /there is no host of this name: /],
        [`unix:${directory}/none/f.sock`, /the directory of the socket does not exist: .*none is no directory/],
        [`unix:${file}/f.sock`, /the directory of the socket does not exist: .*file is no directory/],
        [`unix:${file}`, /a file that is not a socket: remove the file/],
        ["systemd", /was not started with this socket .*: start the program by its systemd socket unit/],
        [`unix:${directory}/${"x".repeat(120)}`, /not an address to listen on .*of 107.*: correct --listen$/m]
      ]
      const ran = yield* runAll(expected.map(([listen]) => trace(listen)))
      for (const [index, [, line]] of expected.entries()) complains(ran[index]!, line)
    }))

  describeWith(notRoot, "for a user without permission", () => {
    it.live("says whose directory it is, and which ports are free", () =>
      Effect.gen(function*() {
        const directory = yield* Listeners.directory
        Fs.chmodSync(directory, 0o755)
        const socket = Path.join(directory, "filter.sock")
        yield* Listeners.bare({ path: socket }, (socket) => void socket.resume())
        Fs.chmodSync(socket, 0o777)
        const asNobody = (listen: string): Ran => {
          const { status, stderr, stdout } = ChildProcess.spawnSync(
            process.execPath,
            command(["trace", "--listen", listen, "--upstream", `unix:${socket}`]),
            {
              encoding: "utf8",
              uid: 65_534,
              gid: 65_534,
              env: { ...process.env, NODE_COMPILE_CACHE: undefined, HOME: "/" }
            }
          )
          return { code: status, stderr, stdout }
        }
        complains(
          asNobody(`unix:${directory}/f.sock`),
          /permission denied: this user may not write to .*: run as its owner/
        )
        const free = Number(Fs.readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"))
        if (free > 25) complains(asNobody("inet:25"), /permission denied: only root may listen on ports below 1024/)
      }))
  })
})

describe("an address that cannot be connected to", () => {
  for (
    const [code, expected] of [
      ["ECONNREFUSED", "nobody listens on inet:9000: start the filter, or correct --to"],
      ["ENOENT", "there is no socket at inet:9000: start the filter, or correct --to"],
      ["ENOTDIR", "a part of inet:9000 is a file, not a directory: correct --to"],
      ["ENOTFOUND", "the host of inet:9000 is not known: correct --to, or give its IP address"],
      [
        "EHOSTUNREACH",
        "the host of inet:9000 cannot be reached: correct --to, or look at the network and its firewalls"
      ],
      [
        "ECONNRESET",
        "inet:9000 closed the connection at once: it may not be a milter, or it may not accept this host; see its log"
      ],
      ["ENOTSOCK", "inet:9000 is a regular file, not a socket: correct --to"]
    ] as const
  ) {
    it(code, () => {
      const cause = Object.assign(new Error(`connect ${code}`), { code })
      assert.strictEqual(unreachable("inet:9000", cause, "--to").message, expected)
    })
  }
})

describe("a silent peer", () => {
  it.live("is named while send waits, and --timeout ends that", () =>
    Effect.gen(function*() {
      const silent = yield* Listeners.bare({ host: "127.0.0.1", port: 0 }, (socket) => void socket.resume())
      const to = `inet:${(silent.address() as Net.AddressInfo).port}` // it listens on TCP
      const file = Path.join(yield* Listeners.directory, "m.eml")
      Fs.writeFileSync(file, "From: a@example.org\nTo: b@example.net\n\n")
      const [sent, wrong] = yield* runAll([
        ["send", file, "--to", to, "--timeout", "3"],
        ["send", file, "--to", to, "--timeout", "soon"]
      ])
      assert.match(
        sent!.stderr,
        new RegExp(
          `^effect-milter: waiting for ${to} to answer Negotiate; --timeout limits the wait\n` +
            `effect-milter: what listens on ${to} does not speak the milter protocol \\(no answer within 3 s\\).*\n$`
        )
      )
      assert.strictEqual(sent?.code, 1)
      complains(wrong!, /--timeout: "soon"\. Expected: a time: 8, 8s, 500ms, 5m or 2 hours/)
    }))

  it("has a time in any spelling", () => {
    const times = ["8", "8s", "8 seconds", "1.5m", "500ms", "1 minute", "2h", "1d"]
    assert.deepStrictEqual(
      times.map((text) => Option.getOrUndefined(Option.map(parseDuration(text), Duration.toMillis))),
      [8000, 8000, 8000, 90_000, 500, 60_000, 7_200_000, 86_400_000]
    )
    for (const text of ["", "s", "8 apples", "-1", "1e9", "8s8"]) {
      assert.isTrue(Option.isNone(parseDuration(text)), text)
    }
  })
})

describe("an old Node", () => {
  it("is told from one that is new enough", () => {
    for (const version of ["22.19.0", "22.20.1", "24.0.0", "100.0.0", "24.0.0-nightly"]) {
      assert.isUndefined(tooOld(version), version)
    }
    for (const version of ["20.20.2", "22.18.9", "18.0.0", "22.9.0"]) assert.isDefined(tooOld(version), version)
  })

  it("is the same everywhere", () => {
    assert.strictEqual(
      (manifest as { readonly engines?: { readonly node: string } }).engines?.node,
      `>=${oldestText}.0`
    )
    const pages = glob("{README.md,CONTRIBUTING.md,docs/**/*.md,examples/**/*.md,container/*.md,deploy/**/*.md}")
    for (const page of pages) {
      for (const [, version] of read(page).matchAll(/\bNode(?:\.js)? v?(22\.\d+)\b/g)) {
        assert.strictEqual(version, oldestText, page)
      }
    }
  })

  const old = ["/usr/bin/node", "/usr/local/bin/node"].find((node) => {
    const { stdout } = ChildProcess.spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" })
    return typeof stdout === "string" && stdout !== "" && tooOld(stdout.trim()) !== undefined
  })

  describeWith(old === undefined ? "there is no old Node" : undefined, "that starts the program", () => {
    it("reads what to do", () => {
      const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-"))
      try {
        // As the build makes them: Node 20 reads no types.
        for (const name of ["main", "nodeVersion"]) {
          const source = read(`src/cli/${name}.ts`).replace(/^#!.*\n/, "")
          Fs.writeFileSync(
            Path.join(directory, `${name}.js`),
            Module.stripTypeScriptTypes(source).replaceAll(".ts\"", ".js\"")
          )
        }
        Fs.writeFileSync(Path.join(directory, "package.json"), "{\"type\":\"module\"}")
        const { status, stderr, stdout } = ChildProcess.spawnSync(old!, [Path.join(directory, "main.js"), "--help"], {
          encoding: "utf8"
        })
        assert.match(
          stderr,
          /^effect-milter: Node \S+ is too old, effect-milter needs 22\.19 or later: npm install node@24 .*\n$/
        )
        assert.deepStrictEqual([status, stdout], [1, ""])
      } finally {
        Fs.rmSync(directory, { recursive: true })
      }
    })
  })
})

describe("completions", () => {
  const missing = ChildProcess.spawnSync("bash", ["--version"]).status === 0 ? undefined : "there is no bash"

  describeWith(missing, "in bash", () => {
    it.live("complete commands, flags and files", () =>
      Effect.gen(function*() {
        const directory = yield* Listeners.directory
        for (const name of ["filter.ts", "hello.eml"]) Fs.writeFileSync(Path.join(directory, name), "")
        const [script] = yield* runAll([["--completions", "bash"]])
        Fs.writeFileSync(Path.join(directory, "completions.sh"), script!.stdout)
        const complete = (...words: ReadonlyArray<string>): ReadonlyArray<string> => {
          const line = ["effect-milter", ...words]
          const { stdout } = ChildProcess.spawnSync("bash", [
            "-c",
            `source ./completions.sh
             COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=\${#COMP_LINE}
             $(complete -p effect-milter | sed 's/.*-F \\([^ ]*\\).*/\\1/') effect-milter "\${COMP_WORDS[COMP_CWORD]}" ""
             printf '%s\\n' "\${COMPREPLY[@]}"`,
            "bash",
            ...line
          ], { cwd: directory, encoding: "utf8" })
          return stdout.trim().split("\n")
        }
        assert.deepStrictEqual(complete("repl"), ["replay"])
        assert.deepStrictEqual(complete("test", "fil"), ["filter.ts"])
        assert.deepStrictEqual(complete("test", "filter.ts", "hel"), ["hello.eml"])
        assert.deepStrictEqual(complete("send", "hello.eml", "--output", "hel"), ["hello.eml"])
        assert.include(complete("send", "--exp"), "--expect")
      }))
  })
})

describe("the shebang", () => {
  it("is that of the program", () => {
    assert.isTrue(
      Fs.readFileSync(fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url)), "utf8").startsWith("#!")
    )
    assert.isTrue(Fs.existsSync(Path.join(root, "src/cli/run.ts")))
  })
})
