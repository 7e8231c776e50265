/** The commands of the examples, as processes: what they say when something is wrong, and their exit codes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { notRoot } from "../../testbed/prerequisite.ts"
import * as Listeners from "../support/listeners.ts"

const main = fileURLToPath(new URL("../../examples/run.ts", import.meta.url))

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("MILTER_") && name !== "FORCE_COLOR")
)

interface Options {
  /** Runs once it listens, before it is stopped. */
  readonly look?: () => void
  readonly env?: { readonly [name: string]: string }
  readonly user?: number
}

/** Runs it until it ends, or says that it listens. */
const run = (args: string, { env, look, user }: Options = {}) =>
  Effect.callback<Ran>((resume) => {
    const child = ChildProcess.spawn(
      process.execPath,
      ["-C", "effect-milter-source", main, ...args.split(" ").filter((arg) => arg !== "")],
      {
        env: { ...inherited, NO_COLOR: "1", ...env },
        stdio: ["ignore", "pipe", "pipe"],
        ...(user === undefined ? {} : { uid: user, gid: user })
      }
    )
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      if (stderr.includes("listens on") && !child.killed) {
        look?.()
        child.kill("SIGTERM")
      }
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

const driver = fileURLToPath(new URL("../support/processes/examples.ts", import.meta.url))

type CommandLine = readonly [name: string, ...args: ReadonlyArray<string>]

/** Runs command lines in one process, since each is expected to end by itself; the environment is that of all. */
const runAll = (commands: ReadonlyArray<CommandLine>, env: { readonly [name: string]: string } = {}) =>
  Effect.callback<ReadonlyArray<Ran>>((resume) => {
    const child = ChildProcess.execFile(
      process.execPath,
      ["-C", "effect-milter-source", driver, JSON.stringify(commands)],
      { encoding: "utf8", env: { ...inherited, NO_COLOR: "1", ...env } },
      (error, stdout) => resume(error === null ? Effect.succeed(JSON.parse(stdout)) : Effect.die(error))
    )
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

/** Each has to complain. */
const allComplain = (
  rows: ReadonlyArray<readonly [command: CommandLine, line: RegExp]>,
  env?: { readonly [name: string]: string }
) =>
  Effect.map(runAll(rows.map(([command]) => command), env), (rans) => {
    for (const [index, [[name], line]] of rows.entries()) {
      assert.isDefined(rans[index], `nothing ran after ${rows[rans.length - 1]?.[0].join(" ")}`)
      complains(rans[index], name, line)
    }
  })

/** One line on standard error and nowhere else, and an exit code that says that it could not run. */
const complains = ({ code, stderr, stdout }: Ran, name: string, line: RegExp): void => {
  assert.match(stderr, new RegExp(`^${name}: [^\\n]*\\n$`))
  assert.match(stderr, line)
  // The pages of observability listen, and log that, before its filter does.
  assert.strictEqual(stdout.replace(/^\{"message":"Listening on http:.*\}\n/, ""), "")
  assert.strictEqual(code, 1)
}

const names = Fs.readdirSync(Path.dirname(main)).filter((name) => Fs.existsSync(Path.join(main, "..", name, "main.ts")))

const nobody = "postgres://me@127.0.0.1:1/mail"

const listensThere = /cannot listen on inet:\d+@127\.0\.0\.1: address already in use/

/** What some of them cannot do without, and what they say about a used port if they may find something else first. */
const needs: {
  readonly [name: string]: {
    readonly args?: string
    readonly env?: { readonly [name: string]: string }
    readonly used?: RegExp
  }
} = {
  account_header: { env: { MILTER_ACCOUNT_KEYS: `one:${Buffer.alloc(32).toString("base64")}` } },
  disclaimer: { args: `--disclaimers ${Path.join(main, "../disclaimer/disclaimers.json")}` },
  greylist: { args: `--database ${nobody}`, used: /address already in use|no database at/ },
  rate_limit: { args: `--tiers ${Path.join(main, "../rate_limit/tiers.json")}` },
  sender_restriction: { args: "--api-url http://127.0.0.1:1/" },
  observability: { used: /address already in use|EADDRINUSE/ },
  reload: { env: { MILTER_BLOCKED: Path.join(main, "../reload/blocked.txt") } },
  service: { env: { DATABASE_URL: nobody }, used: /address already in use|EADDRINUSE|no database at/ },
  smtp_server: { used: /EADDRINUSE/ }
}

/** Examples that read the environment only, and the variables that say on which ports they listen. */
const portVariables: { readonly [name: string]: ReadonlyArray<string> } = {
  observability: ["MILTER_LISTEN", "HTTP_PORT"],
  reload: ["MILTER_LISTEN"],
  service: ["MILTER_LISTEN", "HTTP_PORT"],
  smtp_server: ["SMTP_PORT"]
}

/** Those without options of their own: what is wrong with the arguments, and what they say. */
const programs: ReadonlyArray<readonly [name: string, args: ReadonlyArray<string>, line: RegExp]> = [
  ["demo/demo", ["--bogus"], /there is no "--bogus", only --postfix/],
  ["sender_restriction/fakeApi", ["70000"], /"70000" is not a port/]
]

describe("a program of the examples", () => {
  for (const [name, args, line] of programs) {
    it(`says in one line what is wrong: ${[name, ...args].join(" ")}`, () => {
      const { status, stderr, stdout } = ChildProcess.spawnSync(
        process.execPath,
        ["-C", "effect-milter-source", Path.join(main, `../${name}.ts`), ...args],
        { env: { ...inherited, NO_COLOR: "1" }, encoding: "utf8" }
      )
      complains({ code: status, stderr, stdout }, Path.basename(name), line)
    })
  }
})

describe("the command of an example", () => {
  it.live("tells its flags, its version, and which examples there are", () =>
    Effect.gen(function*() {
      const [help, version, none, wrong] = yield* Effect.all([
        run("append_header_ip --help"),
        run("append_header_ip --version"),
        run(""),
        run("bogus --port 1")
      ], { concurrency: 2 })
      for (const flag of ["headername", "listen", "host", "port", "mode", "group", "log-level"]) {
        assert.match(help.stdout, new RegExp(`^ +--${flag}[ ,]`, "m"))
      }
      assert.strictEqual(help.code, 0)
      assert.match(version.stdout, /^append_header_ip v\d+\.\d+\.\d+\n$/)
      for (const { code, stderr } of [none, wrong]) {
        assert.match(stderr, /^[^\n]*NAME of [^\n]*\bappend_header_ip, [^\n]*\bjson_log\b[^\n]*\n$/)
        assert.strictEqual(code, 1)
      }
      assert.include(wrong.stderr, "\"bogus\"")
    }))

  const wrong: ReadonlyArray<readonly [args: string, line: RegExp, env?: { readonly [name: string]: string }]> = [
    ["append_header_ip --bogus", /Unrecognized flag: --bogus/],
    ["append_header_ip 9000", /Unexpected positional argument: "9000"/],
    ["append_header_ip --port", /--port\. Expected: PORT/],
    ["append_header_ip --port 70000", /--port: "70000"\. Expected: a port from 0 to 65535/],
    ["append_header_ip --host a@b", /--host: "a@b"/],
    ["append_header_ip --listen 9000", /cannot listen on 9000: not an address/],
    ["append_header_ip --listen inet:9000 --port 9000", /either --listen .*MILTER_LISTEN.* or --host and --port/],
    ["append_header_ip --mode 999", /--mode: "999"\. Expected: three octal digits/],
    ["append_header_ip --log-level loud", /--log-level: "loud"\. Expected: debug, info, warning, error/],
    ["append_header_ip --headername a:b", /--headername: "a:b"\. Expected: printable ASCII/],
    ["append_header_ip", /MILTER_PORT: "x"/, { MILTER_PORT: "x" }],
    ["append_header_ip", /MILTER_LOG_LEVEL: "loud"/, { MILTER_LOG_LEVEL: "loud" }],
    ["append_header_ip", /MILTER_HEADERNAME: "a b"/, { MILTER_HEADERNAME: "a\nb" }],
    ["append_header_ip", /either --listen/, { MILTER_LISTEN: "inet:0", MILTER_HOST: "::1" }],
    ["change_body --port 0", /MILTER_MAX_CONNECTIONS/, { MILTER_MAX_CONNECTIONS: "many" }],
    ["debug_log_all --port 0", /MILTER_COMMAND_TIMEOUT/, { MILTER_COMMAND_TIMEOUT: "soon" }],
    ["alignment --alignment loose", /--alignment: .*strict.*relaxed/],
    ["alignment", /MILTER_NETWORKS: "10\.0\.0\.0\/99"\. Expected: networks such as/, {
      MILTER_NETWORKS: "10.0.0.0/99"
    }],
    ["disclaimer --disclaimers /nonexistent", /cannot read \/nonexistent: .*ENOENT/],
    [`disclaimer --disclaimers ${Path.join(main, "../rate_limit/tiers.json")}`, /tiers\.json: /],
    ["external_banner --id a--b", /--id: "a--b"\. Expected: at most 64 letters and digits/],
    ["external_banner --text=", /--text.* Expected: a text that is not empty/],
    ["attachment_policy --extensions a/b", /--extensions: "a\/b"\. Expected: extensions such as exe,js/],
    ["attachment_policy --action drop", /--action: .*remove.*reject/],
    ["instance_header --headername=", /--headername. Expected: printable ASCII/],
    ["json_log --headers From,a:b", /--headers: .*names of header fields/],
    ["modules --accounts alice", /--accounts: "alice"\. Expected: addresses such as/],
    ["observability", /cannot listen on everywhere: not an address/, { MILTER_LISTEN: "everywhere" }],
    ["observability", /HTTP_PORT/, { MILTER_LISTEN: "inet:0", HTTP_PORT: "http" }],
    ["reload", /NotFound: .*\/nonexistent/, { MILTER_LISTEN: "inet:0", MILTER_BLOCKED: "/nonexistent" }],
    ["service", /there is no DATABASE_URL/],
    ["smtp_server", /SMTP_PORT/, { SMTP_PORT: "smtp" }],
    ["json_log --port 0 --file /nonexistent/log", /cannot write to \/nonexistent\/log: ENOENT/]
  ]
  it.live("says in one line what is wrong with a flag or a variable", () =>
    Effect.gen(function*() {
      const rows = (of: typeof wrong) =>
        of.map(([args, line]) => {
          const [name = "", ...rest] = args.split(" ")
          return [[name, ...rest], line] as const
        })
      // Effect reads the environment once, so what a variable says has a process of its own.
      const alone = wrong.filter(([, , env]) => env !== undefined)
      yield* allComplain(rows(wrong.filter(([, , env]) => env === undefined)))
      yield* Effect.forEach(alone, (row) => allComplain(rows([row]), row[2]), { concurrency: 2 })
    }))

  it.live("is the same for all of them: a wrong flag, a wrong variable, a port that somebody has", () =>
    Effect.gen(function*() {
      const { port } = (yield* Listeners.bare({ port: 0, host: "127.0.0.1" })).address() as Net.AddressInfo
      // What one needs is no matter to the others.
      const env = Object.assign({}, ...names.map((name) => needs[name]?.env ?? {}))
      const command = (name: string, ...more: ReadonlyArray<string>): CommandLine => [
        name,
        ...needs[name]?.args?.split(" ") ?? [],
        ...more
      ]
      const used = (name: string) => needs[name]?.used ?? listensThere
      const withFlags = names.filter((name) => !(name in portVariables))
      const withoutFlags = names.filter((name) => name in portVariables)
      yield* allComplain([
        ...names.map((name) => [command(name, "--bogus"), /Unrecognized flag: --bogus/] as const),
        ...withFlags.map((name) => [command(name, "--port", `${port}`), used(name)] as const)
      ], env)
      yield* allComplain(withFlags.map((name) => [command(name), /MILTER_LOG_LEVEL: "loud"/]), {
        ...env,
        MILTER_LOG_LEVEL: "loud"
      })
      const ports = withoutFlags.flatMap((name) => portVariables[name]!).map((variable) =>
        [variable, variable === "MILTER_LISTEN" ? `inet:${port}@127.0.0.1` : `${port}`] as const
      )
      yield* allComplain(withoutFlags.map((name) => [command(name), used(name)]), {
        ...env,
        ...Object.fromEntries(ports)
      })
    }))

  it("is run with a real Postfix, whichever it is", () => {
    const directory = new URL("../integration/", import.meta.url)
    const tests = Fs.readdirSync(directory).filter((file) => /^examples.*\.test\.ts$/.test(file))
      .map((file) => Fs.readFileSync(new URL(file, directory), "utf8"))
      .filter((text) => text.includes("testbed/postfix.ts"))
    // smtp_server is asked by SMTP clients, not by an MTA.
    const filters = names.filter((name) => name !== "smtp_server")
    assert.deepStrictEqual(filters.filter((name) => !tests.some((text) => text.includes(`"${name}"`))), [])
  })

  it.live("takes flags before variables, and variables before defaults", () =>
    Effect.gen(function*() {
      const [byFlag, byAlias, byVariable, quiet] = yield* Effect.all([
        run("append_header_ip --host 127.0.0.2 --port 0", { env: { MILTER_LISTEN: "inet:1" } }),
        run("append_header_ip --bind-host=127.0.0.3 --bind-port 0", { env: { MILTER_PORT: "1" } }),
        run("append_header_ip", { env: { MILTER_LISTEN: "", MILTER_HOST: "::1", MILTER_PORT: "0" } }),
        run("json_log --log-level=ERROR --port 0 --file /nonexistent/log")
      ], { concurrency: 2 })
      assert.match(byFlag.stderr, /append_header_ip listens on inet:\d+@127\.0\.0\.2/)
      assert.strictEqual(byFlag.code, 0)
      assert.match(byAlias.stderr, /append_header_ip listens on inet:\d+@127\.0\.0\.3/)
      assert.match(byVariable.stderr, /append_header_ip listens on inet6:\d+@\[::1\]/)
      assert.strictEqual(byVariable.stdout, "")
      // What ends it is no matter of its log.
      complains(quiet, "json_log", /ENOENT/)
    }))

  it.live("says in one line that the address is in use, or that it may not", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const socket = Path.join(directory, "used.sock")
      const used = yield* Listeners.bare({ port: 0, host: "127.0.0.1" })
      yield* Listeners.bare({ path: socket })
      const { port } = used.address() as Net.AddressInfo
      const locked = Path.join(directory, "locked")
      Fs.mkdirSync(locked, { mode: 0o500 })
      const [onPort, onSocket, forbidden] = yield* Effect.all([
        run(`append_header_ip --port ${port}`),
        run(`change_body --listen unix:${socket}`),
        run(`debug_log_all --listen unix:${locked}/it.sock`, notRoot === undefined ? { user: 65534 } : {})
      ], { concurrency: 2 })
      complains(
        onPort,
        "append_header_ip",
        new RegExp(`cannot listen on inet:${port}@127.0.0.1: address already in use`)
      )
      complains(onSocket, "change_body", /cannot listen on unix:.*: address already in use/)
      complains(forbidden, "debug_log_all", /cannot listen on unix:.*: permission denied/)
    }))

  it.live("serves on a UNIX socket with a mode", () =>
    Effect.gen(function*() {
      const socket = Path.join(yield* Listeners.directory, "it.sock")
      let mode = 0
      const look = () => {
        mode = Fs.statSync(socket).mode & 0o777
      }
      const { code, stderr } = yield* run(`append_header_ip --listen unix:${socket} --mode 0606`, { look })
      assert.strictEqual(mode, 0o606)
      assert.include(stderr, `listens on unix:${socket}`)
      assert.strictEqual(code, 0)
      assert.isFalse(Fs.existsSync(socket))
    }))
})
