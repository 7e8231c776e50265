/** What `serve` makes of its flags, variables and configuration file. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { read } from "../../../scripts/repository.ts"
import { type GivenFlags, options } from "../../../src/cli/serve/serveOptions.ts"
import { resolve } from "../../../src/cli/serve/serveSettings.ts"
import * as Listeners from "../../support/listeners.ts"

const none = Object.fromEntries(options.map(({ name, repeats }) => [name, repeats === true ? [] : Option.none()]))

/** As the command line gives them. */
const given = (flags: { readonly [name: string]: string | boolean | ReadonlyArray<string> }): GivenFlags => ({
  ...none,
  ...Object.fromEntries(
    Object.entries(flags).map(([name, value]) => [name, Array.isArray(value) ? value : Option.some(value)])
  )
} as GivenFlags)

const file = (name: string, text: string) =>
  Effect.map(Listeners.directory, (directory) => {
    const path = Path.join(directory, name)
    Fs.writeFileSync(path, text)
    return path
  })

const trouble = (flags: Parameters<typeof given>[0], environment: NodeJS.ProcessEnv = {}) =>
  Effect.map(Effect.flip(resolve(given(flags), environment)), ({ message }) => message)

describe("settings of serve", () => {
  it.effect("have defaults", () =>
    Effect.gen(function*() {
      const settings = yield* resolve(given({}), {})
      assert.deepStrictEqual(settings, {
        listen: [],
        mode: 0o660,
        owner: undefined,
        group: undefined,
        user: undefined,
        workers: 1,
        http: undefined,
        watch: false,
        logFormat: undefined,
        logLevel: undefined,
        config: undefined,
        check: false,
        checkMessage: undefined,
        shadow: false,
        onFailure: undefined,
        onDefect: undefined,
        server: {},
        ignoredByLayers: [],
        warnings: []
      })
    }))

  it.effect("come from flags before variables, and from variables before the file", () =>
    Effect.gen(function*() {
      const config = yield* file(
        "filter.json",
        JSON.stringify({
          listen: ["inet:9001", "inet:9002"],
          "socket-group": "postfix",
          "max-connections": 10,
          "max-recipients": 20,
          "command-timeout": 3,
          shadow: true
        })
      )
      const environment = {
        MILTER_CONFIG: config,
        MILTER_MAX_CONNECTIONS: "11",
        MILTER_COMMAND_TIMEOUT: "4s",
        MILTER_WORKERS: "",
        MILTER_SHADOW: "no"
      }
      const settings = yield* resolve(given({ "command-timeout": "5" }), environment)
      assert.deepStrictEqual(settings.listen, ["inet:9001", "inet:9002"])
      assert.strictEqual(settings.group, "postfix")
      assert.strictEqual(settings.shadow, false)
      assert.strictEqual(settings.workers, 1)
      const { commandTimeout, maxConnections, maxRecipients } = settings.server
      assert.deepStrictEqual([maxConnections, maxRecipients], [11, 20])
      assert.strictEqual(Duration.toMillis(commandTimeout!), 5000)
      assert.deepStrictEqual(settings.ignoredByLayers, [
        "MILTER_SHADOW",
        "MILTER_MAX_CONNECTIONS",
        "max-recipients in " + config,
        "--command-timeout"
      ])
    }))

  it.effect("come from TOML", () =>
    Effect.gen(function*() {
      const config = yield* file("filter.toml", "listen = \"inet:9001\" # here\nworkers = 3\nidle-timeout = \"2h\"\n")
      const settings = yield* resolve(given({ config }), {})
      assert.deepStrictEqual([settings.listen, settings.workers], [["inet:9001"], 3])
      assert.strictEqual(Duration.toMillis(settings.server.idleTimeout!), 7_200_000)
    }))

  it.effect("take times in seconds, or with a unit", () =>
    Effect.gen(function*() {
      for (
        const [text, milliseconds] of [
          ["8", 8000],
          ["1.5", 1500],
          ["8s", 8000],
          ["8 s", 8000],
          ["8 seconds", 8000],
          ["500ms", 500],
          ["5m", 300_000],
          ["5min", 300_000],
          ["2h", 7_200_000],
          ["1d", 86_400_000]
        ] as const
      ) {
        const { server } = yield* resolve(given({ "idle-timeout": text }), {})
        assert.strictEqual(Duration.toMillis(server.idleTimeout!), milliseconds, text)
      }
    }))

  it.effect("take every option as a flag, a variable and a key", () =>
    Effect.gen(function*() {
      const values: { readonly [name: string]: string } = {
        listen: "inet:9000",
        "socket-mode": "666",
        user: "nobody",
        http: "inet:9464",
        "log-format": "json",
        "log-level": "debug",
        "too-large": "pass",
        peers: "192.0.2.0/24, ::1",
        "on-failure": "pass",
        "on-defect": "reject",
        watch: "true",
        check: "true",
        shadow: "true"
      }
      for (const { metavar, name, repeats, variable } of options) {
        if (name === "config") continue
        const value = values[name] ?? "70000"
        const config = yield* file("filter.json", JSON.stringify({ [name]: value }))
        const flag = metavar === undefined ? true : repeats === true ? [value] : value
        const text = name === "workers" ? "7" : value
        const written = yield* file("filter.json", JSON.stringify({ [name]: text }))
        const fromFlag = yield* resolve(given({ [name]: name === "workers" ? text : flag }), {})
        const fromVariable = yield* resolve(given({}), { [variable]: text })
        const fromFile = yield* resolve(given({ config: name === "workers" ? written : config }), {})
        const bare = (settings: typeof fromFlag) => ({ ...settings, config: undefined, ignoredByLayers: [] })
        assert.deepStrictEqual(bare(fromVariable), bare(fromFlag), variable)
        assert.deepStrictEqual(bare(fromFile), bare(fromFlag), name)
        assert.notDeepEqual(bare(fromFlag), bare(yield* resolve(given({}), {})), name)
      }
    }))

  it.effect("that are wrong are named with the place where they were given", () =>
    Effect.gen(function*() {
      const broken = yield* file("broken.json", "{ listen")
      const toml = yield* file("broken.toml", "listen = \n")
      const strange = yield* file("strange.json", JSON.stringify({ "max-conections": 3 }))
      const nested = yield* file("nested.json", JSON.stringify({ listen: { port: 9000 } }))
      const list = yield* file("list.json", "[]")
      for (
        const [flags, environment, expected] of [
          [{ listen: ["9000"] }, {}, /^--listen: "9000"\. Expected: inet:PORT@HOST, .* or systemd:NAME$/],
          [{}, { MILTER_LISTEN: "inet:9000 x" }, /^MILTER_LISTEN: "x"\. Expected: inet:PORT@HOST/],
          [{ "socket-mode": "0o660" }, {}, /^--socket-mode: "0o660"\. Expected: three octal digits/],
          [{ workers: "0" }, {}, /^--workers: "0"\. Expected: auto, or a number/],
          [{ http: "systemd" }, {}, /^--http: "systemd"\. Expected: .* or unix:\/path$/],
          [{ "log-format": "xml" }, {}, /^--log-format: "xml"\. Expected: pretty, logfmt or json$/],
          [
            {},
            { MILTER_LOG_LEVEL: "loud" },
            /^MILTER_LOG_LEVEL: "loud"\. Expected: all, trace, debug, .*, fatal or none$/
          ],
          [{}, { MILTER_SHADOW: "perhaps" }, /^MILTER_SHADOW: "perhaps"\. Expected: true or false$/],
          [{ "on-failure": "accept" }, {}, /^--on-failure: "accept"\. Expected: tempfail, reject or pass$/],
          ...["many", "0", "-3", "3.5", "1e3"].map((text) =>
            [
              { "max-connections": text },
              {},
              new RegExp(`^--max-connections: "${text.replace(".", "\\.")}"\\. Expected: a whole number from 1 on$`)
            ] as const
          ),
          ...["soon", "", "8 apples", "Infinity"].map((text) =>
            [
              { "command-timeout": text },
              {},
              new RegExp(`^--command-timeout: "${text}"\\. Expected: a time: 8, 8s, 500ms, 5m or 2 hours$`)
            ] as const
          ),
          // Every message would be put off, or progress sent without a pause.
          [{ "command-timeout": "0" }, {}, /^--command-timeout: "0"\. Expected: a time longer than 0$/],
          [{ "progress-interval": "0s" }, {}, /^--progress-interval: "0s"\. Expected: a time longer than 0$/],
          [{}, { MILTER_IDLE_TIMEOUT: "long" }, /^MILTER_IDLE_TIMEOUT: "long"\. Expected: a time: 8/],
          [{}, { MILTER_MAX_CONNECTIONS: "many" }, /^MILTER_MAX_CONNECTIONS: "many"\. Expected: a whole number/],
          [{ "max-frame-length": "10" }, {}, /^--max-frame-length: /],
          [{}, { MILTER_PEERS: "" }, /^MILTER_PEERS: .*expected at least one network/],
          [{ peers: "192.0.2.0/33" }, {}, /^--peers: .*192\.0\.2\.0\/33/],
          [{ config: "none.json" }, {}, /^none\.json cannot be read: /],
          [{ config: broken }, {}, /broken\.json is not JSON: /],
          [{ config: toml }, {}, /broken\.toml is not TOML: /],
          [
            { config: strange },
            {},
            /^max-conections in .*strange\.json is not an option of serve: did you mean max-connections\?$/
          ],
          [{ config: nested }, {}, /^listen in .*nested\.json: expected a text/],
          [{ config: list }, {}, /list\.json is not a list of options/]
        ] as const
      ) {
        const message = yield* trouble(flags, environment)
        assert.match(message, expected)
        assert.notInclude(message, "\n")
      }
    }))

  it.effect("warn of variables that begin like theirs", () =>
    Effect.gen(function*() {
      const { warnings } = yield* resolve(given({}), { MILTER_LISTN: "x", MILTER_SECRET: "y", OTHER: "z" })
      assert.deepStrictEqual(warnings, [
        "MILTER_LISTN is not a variable of serve: did you mean MILTER_LISTEN?",
        "MILTER_SECRET is not a variable of serve"
      ])
    }))

  it("are those of the server, and of the page on operation", () => {
    const page = read("docs/operate/operation.md")
    const server = options.filter(({ concern }) => concern === "server")
    for (const { variable } of server) assert.include(page, `\`${variable}\``)
    const listed = new Set([...page.matchAll(/\| `(MILTER_\w+)`/g)].map(([, variable]) => variable))
    assert.deepStrictEqual(listed, new Set(server.map(({ variable }) => variable)))
  })
})
