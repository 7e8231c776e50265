/** The program `effect-milter`, as processes: what it prints, and its exit codes. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Recording from "effect-milter/Recording"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { spawn } from "../../testbed/childProcess.ts"
import { describeWith, notRoot } from "../../testbed/prerequisite.ts"
import { command, complains, run, runAll, runWith } from "../support/commandLine.ts"
import { fakeProgram } from "../support/fakeProgram.ts"
import * as Listeners from "../support/listeners.ts"
import picky from "../support/modules/filter.ts"

const modules = fileURLToPath(new URL("../support/modules", import.meta.url))

const text = "From: Alice <alice@example.org>\nTo: bob@example.net, carol@example.net\nSubject: hi\n\nHello\n"

const messageFile = Effect.map(Listeners.directory, (directory) => {
  const file = Path.join(directory, "message.eml")
  Fs.writeFileSync(file, text)
  return { directory, file }
})

/** The filter, served in this process. */
const filter = Effect.map(
  Layer.build(
    MilterServer.layer(picky).pipe(
      Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
      Layer.provide(Listeners.quiet)
    )
  ),
  (context) => Context.get(context, MilterServer.Listener).addresses[0]!
)

describe("effect-milter", () => {
  it.live("tells what it can do", () =>
    Effect.gen(function*() {
      const [help, version, nothing] = yield* runAll([["--help"], ["--version"], []])
      for (const name of ["send", "test", "try", "probe", "trace", "replay", "serve", "bench"]) {
        assert.match(help!.stdout, new RegExp(`^ +${name} `, "m"))
      }
      assert.strictEqual(help!.code, 0)
      assert.match(version!.stdout, /^effect-milter v\d+\.\d+\.\d+/)
      assert.include(nothing!.stdout, "USAGE")
      assert.strictEqual(nothing!.code, 0)
    }))

  it.live("says in a line what is wrong with a command line", () =>
    Effect.gen(function*() {
      const [unknown, missing, flag, spec] = yield* runAll([
        ["sned"],
        ["send", "x"],
        ["send", "x", "--to", "inet:9000", "--bogus"],
        ["trace", "--listen", "9000", "--upstream", "inet:9001"]
      ])
      complains(unknown!, /Unknown subcommand "sned".*; did you mean send.*--help\)$/m)
      complains(missing!, /--to .*\(see effect-milter send --help\)$/m)
      complains(flag!, /--bogus/)
      complains(spec!, /--listen: "9000"\. Expected: inet:PORT@HOST/)
    }))
})

describe("send", () => {
  it.live("shows the verdict, and tells it by its exit code", () =>
    Effect.gen(function*() {
      const to = yield* filter
      const { directory, file } = yield* messageFile
      const output = Path.join(directory, "output.eml")
      const send = (...args: ReadonlyArray<string>) => ["send", file, "--to", to, ...args]
      const [accepted, rejected, later, discarded, quarantined, partly] = yield* runAll([
        send("--output", output),
        send("--from", "mallory@example.com"),
        send("--rcpt", "busy@example.net", "--as", "sendmail"),
        send("--rcpt", "nobody@example.net"),
        send("--from", "suspect@example.org"),
        send("--rcpt", "busy@example.net", "--rcpt", "<bob@example.net>", "--client", "[::1]", "--helo", "there")
      ])
      assert.deepStrictEqual(
        [accepted, rejected, later, discarded, quarantined, partly].map((ran) => [ran?.code, ran?.stderr]),
        [[0, ""], [2, ""], [3, ""], [4, ""], [5, ""], [0, ""]]
      )
      assert.match(accepted!.stdout, /^accepted at end of message\n[^]*^@@ header, line 2 @@\n[^]*^\+X-Picky: yes$/m)
      assert.match(Fs.readFileSync(output, "latin1"), /^X-Picky: yes\r\n\r\nHello\r\n$/m)
      assert.strictEqual(rejected!.stdout, "rejected at mail\n  550 5.7.1 not you\n")
      assert.strictEqual(later!.stdout, "refused for now at rcpt\n  451 4.2.1 on holiday\n")
      assert.match(discarded!.stdout, /^discarded at rcpt\n/)
      assert.match(quarantined!.stdout, /^quarantined at end of message: looked at by hand\n/)
      assert.match(partly!.stdout, /^ {2}<busy@example\.net> is refused: 451 4\.2\.1 on holiday$/m)
    }))

  it.live("reads standard input, prints JSON and the conversation", () =>
    Effect.gen(function*() {
      const to = yield* filter
      const ran = yield* runWith(
        { stdin: text },
        "send",
        "-",
        "--to",
        to,
        "--json",
        "--verbose",
        "--macro",
        "auth_authen=alice",
        "--from",
        "editor@example.org"
      )
      assert.strictEqual(ran.code, 0)
      assert.strictEqual((yield* run("send", "-", "--to", "inet:1")).code, 1)
      const outcome = JSON.parse(ran.stdout)
      assert.strictEqual(outcome.verdict, "Accepted")
      assert.deepStrictEqual(outcome.recipients.map(({ address }: { readonly address: string }) => address), [
        "bob@example.net",
        "carol@example.net"
      ])
      assert.strictEqual(outcome.delivered.body.text, "one\r\nnew\r\nthree\r\n")
      assert.match(ran.stderr, /MTA {4}→ Macro for mail: .*\{auth_authen\}=alice$/m)
      assert.match(ran.stderr, /filter ← ReplaceBody 17 bytes: one\\nnew\\nthree\\n$/m)
    }))

  it.live("says what to do when it cannot", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* messageFile
      const stranger = yield* Listeners.bare({ host: "127.0.0.1", port: 0 }, (socket) =>
        socket.resume().write("220 mx ESMTP\r\n"))
      const closing = yield* Listeners.bare({ host: "127.0.0.1", port: 0 }, (socket) =>
        socket.resume().end())
      const portOf = (server: Net.Server) => (server.address() as Net.AddressInfo).port // it listens on TCP
      const empty = Path.join(directory, "empty.eml")
      Fs.writeFileSync(empty, "Subject: nobody\n\n")
      const [nobody, noSocket, noHost, noFile, smtp, closed, noSender, noRecipient] = yield* runAll([
        ["send", file, "--to", "inet:1"],
        ["send", file, "--to", `unix:${directory}/none`],
        ["send", file, "--to", "inet:9000@host.invalid"],
        ["send", `${directory}/none`, "--to", "inet:1"],
        ["send", file, "--to", `inet:${portOf(stranger)}`],
        ["send", file, "--to", `inet:${portOf(closing)}`],
        ["send", empty, "--to", "inet:1"],
        ["send", empty, "--to", "inet:1", "--from", "<>"]
      ])
      complains(nobody!, /nobody listens on inet:1: start the filter, or correct --to$/m)
      complains(noSocket!, /there is no socket at unix:.*none: start the filter/)
      complains(noHost!, /the host of inet:9000@host\.invalid is not known|cannot connect/)
      complains(noFile!, /cannot read .*none: there is no such file; give a message/)
      complains(
        smtp!,
        /does not speak the milter protocol \(it begins with "220 "\): --to wants the address of a filter/
      )
      complains(closed!, /closed the connection at once/)
      complains(noSender!, /give --from ADDRESS/)
      complains(noRecipient!, /give --rcpt ADDRESS/)
    }))
})

describe("probe", () => {
  it.live("prints the declaration of a milter, or says what to do", () =>
    Effect.gen(function*() {
      const to = yield* filter
      const [probed, nobody, noSpec, wrong] = yield* runAll([
        ["probe", to],
        ["probe", "inet:1"],
        ["probe"],
        ["probe", "9000"]
      ])
      assert.strictEqual(probed!.stderr, "")
      assert.strictEqual(probed!.code, 0)
      assert.match(probed!.stdout, /^\/\/ version 6.*\nMilter\.remote\("milter", \{\n {2}to: "inet:/)
      assert.match(probed!.stdout, /\n\}\)\n$/)
      complains(nobody!, /nobody listens on inet:1: start the filter, or correct SPEC$/m)
      complains(noSpec!, /SPEC/)
      complains(wrong!, /Expected: inet:PORT@HOST/)
    }))
})

describe("trace and replay", () => {
  it.live("record a session and play it again", () =>
    Effect.gen(function*() {
      const upstream = yield* filter
      const { directory, file } = yield* messageFile
      const socket = `unix:${directory}/trace.sock`
      const recording = Path.join(directory, "session.jsonl")
      const trace = yield* spawn(
        process.execPath,
        command(["trace", "--listen", socket, "--upstream", upstream, "--record", recording]),
        { env: { NO_COLOR: "1" } }
      )
      yield* trace.shows(/listening on unix:.*, in front of inet:/)
      const accepted = yield* run("send", file, "--to", socket)
      assert.strictEqual(accepted.code, 0, accepted.stderr)
      yield* trace.shows(/ 1 .* has closed\n/)
      // Who does not speak the protocol is passed on as well.
      const stranger = yield* Effect.callback<string>((resume) => {
        const connection = Net.connect(socket.slice("unix:".length))
        connection.on("close", () => resume(Effect.succeed("closed"))).on("error", () => undefined).resume()
        connection.write("EHLO there\r\n")
      })
      assert.strictEqual(stranger, "closed")
      yield* trace.shows(/ 2 .*the MTA sends 12 bytes that are no frames/)
      yield* trace.signal("SIGINT")
      assert.strictEqual(yield* trace.exit, 0)
      assert.match(
        trace.output,
        /^ {2}1 \d\d:\d\d:\d\d\.\d{3} +\d+\.\d{3} MTA {4}→ Connect hostname="client\.example\.org"/m
      )
      assert.match(trace.output, /^ {2}1 \d\d:\d\d:\d\d\.\d{3} +\d+\.\d{3} filter ← AddHeader X-Picky: yes$/m)

      assert.strictEqual(Fs.statSync(recording).mode & 0o777, 0o600)
      const link = Path.join(directory, "link.jsonl")
      const target = Path.join(directory, "target")
      Fs.symlinkSync(target, link)
      const held = Fs.readFileSync(recording, "utf8")
      for (const path of [recording, link]) {
        complains(
          yield* run("trace", "--listen", `unix:${directory}/other.sock`, "--upstream", upstream, "--record", path),
          /exists: remove it, give --record another file, or add to it with --append$/m
        )
      }
      assert.strictEqual(Fs.readFileSync(recording, "utf8"), held)
      assert.isFalse(Fs.existsSync(target))
      const lines = Result.getOrThrow(Recording.parse(held))
      assert.strictEqual(lines[0]?._tag, "Description")
      assert.isTrue(lines.some((line) => line._tag === "Event" && line.event === "junk"))

      const other = Path.join(directory, "other.jsonl")
      Fs.writeFileSync(
        other,
        Fs.readFileSync(recording, "utf8").replace(
          "\"cmd\":\"c\",\"name\":\"Continue\"",
          "\"cmd\":\"r\",\"name\":\"Reject\""
        )
      )
      const [same, differing, nowhere, noRecording] = yield* runAll([
        ["replay", recording, "--to", upstream],
        ["replay", other, "--to", upstream],
        ["replay", recording, "--to", "inet:1"],
        ["replay", file, "--to", upstream]
      ])
      assert.deepStrictEqual([same!.code, same!.stderr], [0, ""])
      assert.match(same!.stdout, /^connection 1: \d+ commands, same answers\n$/)
      assert.deepStrictEqual([differing!.code, differing!.stderr], [2, ""])
      assert.match(differing!.stdout, /1 other answer\n {2}@@ \w+ .*\n {2}- Reject\n {2}\+ Continue\n$/)
      complains(nowhere!, /nobody listens/)
      complains(noRecording!, /message\.eml is no recording, or is damaged: line 1/)
    }))

  it.live("hide who and what if told to", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* messageFile
      const socket = `unix:${directory}/trace.sock`
      const recording = Path.join(directory, "session.jsonl")
      const upstream = yield* filter
      const trace = yield* spawn(
        process.execPath,
        command(["trace", "--listen", socket, "--upstream", upstream, "--record", recording, "--redact"])
      )
      yield* trace.shows(/listening/)
      assert.strictEqual((yield* run("send", file, "--to", socket))?.code, 0)
      yield* trace.shows(/ 1 .* has closed\n/)
      const recorded = Fs.readFileSync(recording, "utf8")
      const bytes = recorded.replace(/"hex":"([0-9a-f]*)"/g, (_, hex: string) =>
        Buffer.from(hex, "hex").toString("latin1"))
      for (const text of [trace.output, bytes]) {
        assert.notMatch(text, /alice|bob@|example\.net|Hello/)
        assert.match(text, /<user\d@domain\d\.example>/)
      }
      // The value that the filter adds is hidden as well.
      const replayed = yield* run("replay", recording, "--to", upstream, "--ignore", "x-picky")
      assert.strictEqual(replayed.code, 2)
      assert.match(
        replayed.stdout,
        /1 other answer\n.*\n {2}- AddHeader X-Field-1: xxx\n[^]* {2}\+ AddHeader X-Picky: yes\n/
      )
    }))

  it.live("trace says what to do when it cannot", () =>
    Effect.gen(function*() {
      const upstream = yield* filter
      const { directory } = yield* messageFile
      const trace = (...args: ReadonlyArray<string>) => ["trace", ...args]
      const [nobody, taken, noFile] = yield* runAll([
        trace("--listen", "inet:0", "--upstream", "inet:1"),
        trace("--listen", upstream, "--upstream", upstream),
        trace("--listen", "inet:0", "--upstream", upstream, "--record", `${directory}/none/x`)
      ])
      complains(nobody!, /nobody listens on inet:1: start the filter, or correct --upstream$/m)
      complains(
        taken!,
        /cannot listen on .*address already in use: stop the program that listens there .*, or give --listen another port/
      )
      complains(noFile!, /cannot write .*: give --record a file/)
    }))
})

describe("bench", () => {
  it.live("measures, compares, and writes a page", () =>
    Effect.gen(function*() {
      const spec = yield* filter
      const directory = yield* Listeners.directory
      const html = Path.join(directory, "report.html")
      const [one, two, json] = yield* runAll([
        ["bench", spec, "--messages", "40", "--connections", "4", "--per-connection", "5", "--size", "100k"],
        ["bench", spec, "--compare", spec, "--messages", "20", "--html", html],
        ["bench", spec, "--messages", "20", "--rate", "1000", "--json"]
      ])
      assert.deepStrictEqual([one, two, json].map((ran) => [ran?.code, ran?.stderr]), [[0, ""], [0, ""], [0, ""]])
      assert.match(
        one!.stdout,
        /^inet:.*: 40 messages in .* s over 4 connections, .* a second\n {2}outcome: 40 accepted\n/
      )
      assert.match(two!.stdout, /divided by .*\n {2}messages a second \d/)
      assert.match(Fs.readFileSync(html, "utf8"), /^<!doctype html>[^]*<\/html>\n$/)
      const read = JSON.parse(json!.stdout)
      assert.strictEqual(read.complete, true)
      assert.strictEqual(read.filters[0].messages, 20)
      assert.strictEqual(read.load.rate, 1000)
    }))

  it.live("says in a line what is wrong", () =>
    Effect.gen(function*() {
      const spec = yield* filter
      const directory = yield* Listeners.directory
      const [nobody, second, none, size, noFile] = yield* runAll([
        ["bench", "inet:1"],
        ["bench", spec, "--compare", `unix:${directory}/none`],
        ["bench", spec, "--messages", "0"],
        ["bench", spec, "--size", "1G"],
        ["bench", spec, "--messages", "1", "--html", `${directory}/none/report.html`]
      ])
      complains(nobody!, /nobody listens on inet:1: start the filter, or correct SPEC$/m)
      complains(second!, /there is no socket at unix:.*: start the filter, or correct --compare$/m)
      complains(none!, /--messages: "0"\. Expected: a number from 1 to/)
      complains(size!, /--size: "1G"\. Expected: a number of bytes/)
      assert.strictEqual(noFile!.code, 1)
      assert.match(noFile!.stderr, /^effect-milter: cannot write .*: give --html a file.*\n$/)
    }))

  it.live("gives the figures so far if the filter is lost", () =>
    Effect.gen(function*() {
      const spec = yield* filter
      const directory = yield* Listeners.directory
      const port = Number(/^inet:(\d+)@/.exec(spec)![1])
      // A relay to the filter, gone after three connections: two of the warm-up, and one that counts.
      let connections = 0
      const relay = yield* Listeners.bare({ host: "127.0.0.1", port: 0 }, (socket) => {
        if (++connections > 3) return void socket.destroy()
        const upstream = Net.connect({ host: "127.0.0.1", port })
        socket.on("error", () => upstream.destroy()).pipe(upstream).on("error", () => socket.destroy()).pipe(socket)
      })
      const address = relay.address() as Net.AddressInfo // it listens on TCP
      const html = Path.join(directory, "report.html")
      const ran = yield* run(
        "bench",
        `inet:${address.port}`,
        "--messages",
        "1000",
        "--connections",
        "1",
        "--html",
        html
      )
      assert.strictEqual(ran.code, 1)
      assert.match(ran.stdout, /: 50 messages in /)
      assert.match(ran.stderr, /^effect-milter: only 50 of 1,000 messages were measured: .*\n$/)
      assert.include(Fs.readFileSync(html, "utf8"), "only 50 of 1,000 messages were measured")
    }))
})

describe("serve", () => {
  const serve = Effect.fnUntraced(function*(module: string, ...args: ReadonlyArray<string>) {
    const { directory, file } = yield* messageFile
    const to = `unix:${directory}/filter.sock`
    const child = yield* spawn(process.execPath, command(["serve", `${modules}/${module}`, "--listen", to, ...args]), {
      env: { NO_COLOR: "1" }
    })
    yield* child.shows(/INPUT_MAIL_FILTER/)
    return { child, directory, file, to }
  })

  it.live("serves the filter of a module, and prints the lines for the MTAs", () =>
    Effect.gen(function*() {
      const { child, directory, file, to } = yield* serve("filter.ts", "--mode", "600", "--workers", "2")
      if (process.geteuid?.() === 0) yield* child.shows(/this filter runs as root/)
      assert.include(child.output, `  smtpd_milters = ${to}\n`)
      assert.include(child.output, `  INPUT_MAIL_FILTER(\`picky', \`S=${to}, F=T, T=`)
      assert.lengthOf(child.output.match(/INPUT_MAIL_FILTER/g) ?? [], 1)
      assert.strictEqual(Fs.statSync(`${directory}/filter.sock`).mode & 0o777, 0o600)
      const ran = yield* run("send", file, "--to", to)
      assert.strictEqual(ran.code, 0)
      // The program's own format: full time stamps, and the queue id.
      yield* child.shows(
        /^time=\d{4}-\d\d-\d\dT[\d:.]+Z level=INFO message="message accepted" worker=\d .*queueId=A1B2C30001/m
      )
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("prints the path inside the chroot for a socket below the queue directory of the host's Postfix", () =>
    Effect.gen(function*() {
      const { directory } = yield* messageFile
      const programs = yield* fakeProgram("postconf", `[ "$*" = "-h queue_directory" ] && echo ${directory}/`)
      const socket = `unix:${directory}/filter.sock`
      for (const [path, expected] of [[programs, "unix:/filter.sock"], ["/nonexistent", socket]] as const) {
        const child = yield* spawn(
          process.execPath,
          command(["serve", `${modules}/filter.ts`, "--listen", socket]),
          { env: { NO_COLOR: "1", PATH: path } }
        )
        yield* child.shows(/INPUT_MAIL_FILTER/)
        assert.include(child.output, `  smtpd_milters = ${expected}\n`)
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0, child.output)
      }
    }).pipe(Effect.scoped))

  it.live("serves a layer, which brings its services and its options", () =>
    Effect.gen(function*() {
      const { child, file, to } = yield* serve("server.ts")
      const ran = yield* run("send", file, "--to", to)
      assert.strictEqual(ran.stdout, "rejected at mail\n  550 5.7.1 from a service\n")
      assert.strictEqual(ran.code, 2)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("asks several filters one after the other, of an array and of several modules", () =>
    Effect.gen(function*() {
      const { child, file, to } = yield* serve("pair.ts", `${modules}/filter.ts`)
      assert.include(child.output, "`first-second-picky'")
      const ran = yield* run("send", file, "--to", to)
      assert.match(ran.stdout, /^\+X-Second: yes$[^]*^\+X-Picky: yes$/m)
      yield* child.shows(/message="asked first" .*session=/)
    }))

  it.live("does with failures and defects what the operator says", () =>
    Effect.gen(function*() {
      const { file, to } = yield* serve("pair.ts", "--on-failure", "reject", "--on-defect", "pass")
      const fails = yield* run("send", file, "--to", to, "--from", "fails@example.org")
      assert.match(fails.stdout, /^rejected at mail\n/)
      const dies = yield* run("send", file, "--to", to, "--rcpt", "dies@example.net")
      assert.match(dies.stdout, /^accepted/)
    }))

  it.live("gives priorities to the journal", () =>
    Effect.gen(function*() {
      const { directory } = yield* messageFile
      const child = yield* spawn("sh", [
        "-c",
        "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"",
        "sh",
        process.execPath,
        ...command(["serve", `${modules}/filter.ts`, "--listen", `${directory}/filter.sock`, "--log-format", "json"])
      ])
      yield* child.shows(/^<6>\{.*"message":"picky listens on/m)
    }))

  it.live("logs from a level on: the flag's, else the variable's", () =>
    Effect.gen(function*() {
      const { directory } = yield* messageFile
      const start = Effect.fnUntraced(function*(name: string, ...args: ReadonlyArray<string>) {
        const line = command(["serve", `${modules}/filter.ts`, "--listen", `${directory}/${name}.sock`, ...args])
        const child = yield* spawn(process.execPath, line, { env: { MILTER_LOG_LEVEL: "error" } })
        yield* child.shows(/smtpd_milters = /)
        return child
      })
      const silent = yield* start("silent")
      const told = yield* start("told", "--log-level", "info")
      yield* told.shows(/picky listens on/)
      assert.notInclude(silent.output, "picky listens on")
      for (const child of [silent, told]) yield* child.signal("SIGTERM")
      assert.deepStrictEqual(yield* Effect.all([silent.exit, told.exit]), [0, 0])
      assert.notInclude(silent.output, "INFO")
    }))

  it.live("runs filters on trial", () =>
    Effect.gen(function*() {
      const { child, file, to } = yield* serve("filter.ts", "--shadow")
      const ran = yield* run("send", file, "--to", to, "--from", "mallory@example.com")
      assert.match(ran.stdout, /^accepted/)
      yield* child.shows(/message="shadow rejected"/)
    }))

  it.live("loads a module anew when it changes, or what it imports", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* messageFile
      const to = `unix:${directory}/filter.sock`
      // In the package, so that it finds it, and where nothing that looks through the sources looks.
      const results = fileURLToPath(new URL("../../test-results", import.meta.url))
      Fs.mkdirSync(results, { recursive: true })
      const folder = Fs.mkdtempSync(Path.join(results, "watched-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(folder, { recursive: true })))
      Fs.writeFileSync(
        Path.join(folder, "filter.ts"),
        `import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { text } from "./text.ts"
export default Milter.make("watched").on({
  mail: () => Effect.succeed(Verdict.reject({ code: "550", enhanced: "5.7.1", text }))
})
`
      )
      const write = (text: string) => Fs.writeFileSync(Path.join(folder, "text.ts"), text)
      write("export const text: string = \"one\"\n")
      const child = yield* spawn(
        process.execPath,
        command(["serve", Path.join(folder, "filter.ts"), "--listen", to, "--watch"]),
        { env: { NO_COLOR: "1" } }
      )
      yield* child.shows(/INPUT_MAIL_FILTER/)
      assert.match((yield* run("send", file, "--to", to)).stdout, /550 5\.7\.1 one/)
      write("export const text: string = \"two\"\n")
      yield* child.shows(/text\.ts has changed: new workers[^]*the workers have been replaced/)
      assert.match((yield* run("send", file, "--to", to)).stdout, /550 5\.7\.1 two/)
      // A mistake leaves what is there, and is mended by another change.
      write("export const text: string = (\n")
      yield* child.shows(/text\.ts:\d+:\d+: [^]*the reload failed, the old workers stay/)
      assert.match((yield* run("send", file, "--to", to)).stdout, /550 5\.7\.1 two/)
      write("export const text: string = \"three\"\n")
      yield* child.shows(/(?:the workers have been replaced[^]*){2}/)
      assert.match((yield* run("send", file, "--to", to)).stdout, /550 5\.7\.1 three/)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("says what is wrong before anything listens", () =>
    Effect.gen(function*() {
      const taken = yield* filter
      const serve = (module: string, listen = "inet:0") => run("serve", `${modules}/${module}`, "--listen", listen)
      const [broken, needy, used] = yield* Effect.all([
        serve("broken.ts"),
        serve("needy.ts"),
        serve("filter.ts", taken)
      ], { concurrency: 2 })
      complains(broken, /broken\.ts cannot be loaded: the list is not there/)
      complains(needy, /needy\.ts cannot be served: Service not found: test\/Greylist/)
      complains(used, /address already in use: .*--listen/)
    }))
})

describe("serve --check", () => {
  const mistakes: ReadonlyArray<
    readonly [name: string, text: string, line: RegExp, args?: ReadonlyArray<string>]
  > = [
    ["syntax.ts", "const a: number = 1\nexport default foo(((\n", /syntax\.ts:2:\d+: /],
    ["syntax.js", "const a = 1\nexport default { a: }\n", /syntax\.js:2:21: Unexpected token/],
    ["imports.ts", "import \"./syntax.js\"\n", /imports\.ts cannot be loaded: .*syntax\.js:2:21: Unexpected token/],
    ["enum.ts", "\nenum A { B }\n", /enum\.ts:2:1: TypeScript enum is not supported/],
    ["missing.ts", "import \"./nowhere.ts\"\n", /missing\.ts cannot be loaded: Cannot find module .*nowhere\.ts/],
    ["throws.ts", "throw new Error(\"no list\")\n", /throws\.ts cannot be loaded: no list/],
    ["nothing.ts", "export const a = 1\n", /exports no filter by default: write `export default Milter\.make/],
    ["empty.ts", "export default []\n", /the default export of .* is not a filter/],
    ["mixed.ts", "export default [1]\n", /the default export of .* is not a filter/],
    [
      "stage.ts",
      "import * as Milter from \"effect-milter/Milter\"\nexport default Milter.make(\"a\").on({ recipient: () => 1 } as {})\n",
      /stage\.ts cannot be loaded: .*"recipient": did you mean rcpt\?/
    ],
    [
      "twice.ts",
      "import * as Milter from \"effect-milter/Milter\"\nconst mail = () => 1\n" +
      "export default Milter.make(\"a\").on({ mail } as {}, { mail } as {})\n",
      /twice\.ts cannot be loaded: .*expected mail to be answered or observed, not both/
    ],
    [
      "service.ts",
      "import * as Milter from \"effect-milter/Milter\"\n" +
      "export default class Greylist extends Milter.Service<Greylist>()(\"app/Greylist\") {}\n",
      /service\.ts cannot be served: Service not found: app\/Greylist/
    ],
    [
      "layer.ts",
      "import * as Layer from \"effect/Layer\"\nimport * as Effect from \"effect/Effect\"\n" +
      "import * as Context from \"effect/Context\"\n" +
      "class Db extends Context.Service<Db, {}>()(\"app/Db\") {}\n" +
      "export default Layer.effectDiscard(Effect.service(Db))\n",
      /layer\.ts cannot be served: Service not found: app\/Db/
    ],
    [
      "fails.ts",
      "import * as Layer from \"effect/Layer\"\nimport * as Effect from \"effect/Effect\"\n" +
      "export default Layer.effectDiscard(Effect.fail(new Error(\"no database\")))\n",
      /fails\.ts cannot be served: no database/
    ],
    [
      "options.ts",
      "import * as Layer from \"effect/Layer\"\nexport default Layer.empty\n",
      /options\.ts exports a layer, which has options of its own: --max-connections would be ignored/,
      ["--max-connections", "3"]
    ],
    [
      "macro.ts",
      "import * as Milter from \"effect-milter/Milter\"\n" +
      "export default Milter.make(\"a\", { macros: { mail: [\"a b\"] } }).on({})\n",
      /macro\.ts cannot be loaded: /
    ]
  ]

  it.live("finds each mistake, in one line", () =>
    Effect.gen(function*() {
      const folder = Fs.mkdtempSync(Path.join(modules, "mistakes-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(folder, { recursive: true })))
      for (const [name, text] of mistakes) Fs.writeFileSync(Path.join(folder, name), text)
      const check = (
        name: string,
        ...args: ReadonlyArray<string>
      ) => ["serve", Path.join(folder, name), "--check", ...args]
      const ran = yield* runAll([
        ...mistakes.map(([name, , , args = []]) => check(name, ...args)),
        ["serve", `${modules}/none.ts`, "--check"],
        ["serve", `${modules}/named.ts`, "--check"],
        ["serve", `${modules}/filter.ts`, `${modules}/server.ts`, "--check"]
      ])
      for (const [index, [name, , line]] of mistakes.entries()) {
        assert.strictEqual(ran[index]!.code, 1, name)
        complains(ran[index]!, line)
      }
      const [none, named, layers] = ran.slice(mistakes.length)
      complains(none!, /there is no .*none\.ts/)
      complains(named!, /exports no filter by default: add `export default Nothing`/)
      complains(layers!, /server\.ts exports a layer, which is served alone/)
    }))

  it.live("finds nothing where all is well, and sends a message only when asked", () =>
    Effect.gen(function*() {
      const { file } = yield* messageFile
      const check = (module: string, ...args: ReadonlyArray<string>) => ["serve", `${modules}/${module}`, ...args]
      const [well, layer, message, refused, warned] = yield* runAll([
        check("filter.ts", "--check"),
        check("server.ts", "--check"),
        check("pair.ts", "--check-message", file),
        check("server.ts", "--check-message", file),
        check("pair.ts", "--check", "--log-level", "info", "--log-format", "logfmt")
      ])
      assert.deepStrictEqual([well, layer].map((ran) => [ran?.code, ran?.stdout]), [[0, ""], [0, ""]])
      // It wants something that Postfix has had since 2.6.
      assert.match(well!.stderr, /filter\.ts does not agree with postfix23: /)
      assert.notMatch(well!.stderr, /agree with (?!postfix23)/)
      assert.match(message!.stdout, /^accepted[^]*X-Second: yes/)
      assert.strictEqual(message!.code, 0)
      assert.strictEqual(refused!.code, 2)
      assert.notInclude(warned!.stderr, "asked first")
    }))
})

describeWith(notRoot, "serve as root", () => {
  it.live("becomes a user when the sockets are bound", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* messageFile
      const path = `${directory}/filter.sock`
      const child = yield* spawn(
        process.execPath,
        command(["serve", `${modules}/filter.ts`, "--listen", path, "--user", "nobody", "--socket-group", "0"]),
        { env: { NO_COLOR: "1" } }
      )
      yield* child.shows(/INPUT_MAIL_FILTER/)
      assert.notInclude(child.output, "runs as root")
      const { gid, uid } = Fs.statSync(path)
      assert.deepStrictEqual([uid, gid], [65534, 0])
      const pid = child.process.pid!
      const [worker] = Fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ")
      for (const one of [pid, worker]) {
        assert.match(Fs.readFileSync(`/proc/${one}/status`, "latin1"), /^Uid:\t65534\t65534\t65534\t65534$/m)
        assert.match(Fs.readFileSync(`/proc/${one}/status`, "latin1"), /^Groups:\t65534 ?$/m)
      }
      assert.strictEqual((yield* run("send", file, "--to", `unix:${path}`)).code, 0)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      complains(
        yield* run("serve", `${modules}/filter.ts`, "--listen", path, "--user", "nobody-there"),
        /--user nobody-there: there is no user nobody-there/
      )
    }))
})
