/** The parts of docs/operate/cli.md that the program itself writes. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { spawn } from "../../testbed/childProcess.ts"
import { directory } from "../../testbed/daemon.ts"
import { clamav, rspamd } from "../../testbed/daemons.ts"
import { opendkim } from "../../testbed/opendkim.ts"
import * as Smtp from "../../testbed/smtpClient.ts"
import { root } from "../repository.ts"

const argumentsOf = (args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "-C",
  "effect-milter-source",
  Path.join(root, "src/cli/main.ts"),
  ...args
]

const longest = 120

const plain = { NO_COLOR: "1", COLUMNS: String(longest) }

/** What a command has printed, and its exit code. */
export interface Ran {
  readonly code: number | null
  readonly text: string
}

const run = (directory: string, ...args: ReadonlyArray<string>): Ran => {
  const { status, stderr, stdout } = ChildProcess.spawnSync(process.execPath, argumentsOf(args), {
    cwd: directory,
    encoding: "utf8",
    env: { ...process.env, ...plain }
  })
  return { code: status, text: `${stdout}${stderr}` }
}

const start = (...args: ReadonlyArray<string>) => spawn(process.execPath, argumentsOf(args), { env: plain })

// --- how it stands on the page

/** Nothing of this machine in it, and no line that is longer than a page. */
const tidy = (text: string): string =>
  text.replaceAll(Os.hostname(), "mx").split("\n")
    .map((line) => line.length > longest ? `${line.slice(0, longest - 1)}…` : line)
    .join("\n").trimEnd()

const block = (text: string): string => `\`\`\`text\n${text}\n\`\`\``

/** Commands and what they print, as in a terminal. */
const terminal = (...parts: ReadonlyArray<readonly [command: string, output: string]>): string =>
  block(parts.map(([command, output]) => `$ ${command}\n${tidy(output)}`).join("\n\n"))

// --- the same everywhere

const commands = ["send", "test", "try", "probe", "trace", "decode", "replay", "serve", "bench", "status"]

/** The flags of each command, without those that all programs of Effect's have. */
export const help = (): ReadonlyMap<string, string> =>
  new Map(
    commands.map((command) => [
      `help ${command}`,
      block(run(root, command, "--help").text.replace(/\nGLOBAL FLAGS\n(?: .*\n)*/, "").trimEnd())
    ])
  )

// --- what other filters do

const hello = `From: Alice <alice@example.org>
To: Bob <bob@example.net>
Subject: Lunch?
Date: Mon, 05 Jan 2026 10:00:00 +0000
Message-ID: <1@example.org>

Shall we meet at noon?
`

const spam = `${hello}XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n`

const files = Effect.map(directory, (directory) => {
  Fs.writeFileSync(Path.join(directory, "hello.eml"), hello)
  Fs.writeFileSync(Path.join(directory, "spam.eml"), spam)
  return directory
})

/** Messages through opendkim and rspamd. */
export const sent = Effect.gen(function*() {
  const directory = yield* files
  const signer = yield* opendkim()
  const scanner = yield* rspamd()
  const send = (...args: ReadonlyArray<string>) => run(directory, "send", ...args)
  return {
    signed: send("hello.eml", "--to", signer, "--client", "127.0.0.1", "--output", "signed.eml"),
    verified: send("signed.eml", "--to", signer),
    ham: send("hello.eml", "--to", scanner),
    spam: send("spam.eml", "--to", scanner)
  }
})

const failingFilter = Path.join(root, "scripts/docs/archive.ts")

const demoFilter = Path.join(root, "examples/demo/filter.ts")

/** A filter tried in one process: on a message, on a Maildir, and on a mailbox that it should reject. */
const tested = Effect.map(files, (directory) => {
  const theirs = hello.replaceAll("alice@example.org", "mallory@example.com")
  for (const folder of ["cur", "new"]) Fs.mkdirSync(Path.join(directory, "Maildir", folder), { recursive: true })
  Fs.writeFileSync(Path.join(directory, "Maildir/new/1767607200.M1P2.mx"), hello)
  Fs.writeFileSync(Path.join(directory, "Maildir/cur/1767607260.M3P4.mx:2,S"), theirs)
  const from = "From mallory@example.com Mon Jan  5 10:00:00 2026\n"
  Fs.writeFileSync(Path.join(directory, "spam.mbox"), `${from}${theirs}\n${from}${hello}\n`)
  const test = (...args: ReadonlyArray<string>) => run(directory, "test", demoFilter, ...args)
  return { one: test("hello.eml"), many: test("Maildir"), expected: test("spam.mbox", "--expect", "rejected") }
})

/** A filter asked by a private Postfix. Its port on the page is always the same. */
export const tried = Effect.gen(function*() {
  const trying = yield* start("try", demoFilter)
  const [, port] = yield* trying.shows(/port (\d+) [^]*Ctrl-C.*\n/)
  const smtp = yield* Smtp.connect(Number(port))
  yield* smtp.sendMail({ from: "alice@example.org", to: "bob@example.net", message: Smtp.crlf(hello) })
  yield* trying.shows(/^--- delivered[^]*^---\n/m)
  yield* smtp.sendMail({ from: "mallory@example.com", to: "bob@example.net", message: Smtp.crlf(hello) })
  yield* smtp.quit
  yield* trying.shows(/has closed\n/)
  yield* trying.signal("SIGINT")
  yield* trying.exit
  return trying.output.replaceAll(port!, "10025").replaceAll(Path.relative(root, demoFilter), "filter.ts")
})

/** What the milters want. Their sockets stand on the page where packages put them. */
export const probed = Effect.gen(function*() {
  const sockets = {
    opendkim: yield* opendkim(),
    rspamd: yield* rspamd(),
    clamav: yield* clamav
  }
  const probe = (name: keyof typeof sockets, shown: string) => {
    const { code, text } = run(root, "probe", sockets[name])
    const own = /([^/.]+)\.sock$/.exec(sockets[name])![1]!
    const named = /([^/.]+)\.\w+$/.exec(shown)![1]!
    return { code, shown, text: text.replaceAll(sockets[name], shown).replace(`remote("${own}"`, `remote("${named}"`) }
  }
  return {
    opendkim: probe("opendkim", "unix:/run/opendkim/opendkim.sock"),
    rspamd: probe("rspamd", "unix:/run/rspamd/rspamd.sock"),
    clamav: probe("clamav", "unix:/run/clamav/clamav-milter.ctl")
  }
})

const decodeHex = (hex: string): string =>
  ChildProcess.spawnSync(process.execPath, argumentsOf(["decode", "-"]), {
    encoding: "utf8",
    input: hex,
    env: { ...process.env, ...plain }
  }).stdout

/** A filter served, looked at, played to again, and measured. */
const watched = Effect.gen(function*() {
  const directory = yield* files
  const served = yield* start("serve", demoFilter, "--listen", "inet:9000@127.0.0.1")
  yield* served.shows(/INPUT_MAIL_FILTER.*\n/)
  const recording = Path.join(directory, "session.jsonl")
  const traced = yield* start(
    "trace",
    "--listen",
    "inet:9001@127.0.0.1",
    "--upstream",
    "inet:9000@127.0.0.1",
    "--record",
    recording
  )
  yield* traced.shows(/listening.*\n/)
  run(directory, "send", "hello.eml", "--to", "inet:9001@127.0.0.1")
  yield* traced.shows(/has closed\n/)
  const replayed = run(directory, "replay", recording, "--to", "inet:9000@127.0.0.1")
  const outcome = run(directory, "replay", recording, "--to", "inet:9000@127.0.0.1", "--outcome")
  const decoded = decodeHex("0000000d4f00000006000001ff001fffff 0000000163")
  const measured = run(directory, "bench", "inet:9000@127.0.0.1", "--messages", "500")
  return {
    served: served.output.replace(/^time=.*\n/gm, ""),
    traced: traced.output,
    replayed: replayed.text,
    outcome: outcome.text,
    decoded,
    measured: measured.text.replaceAll("@127.0.0.1", "")
  }
})

/** The state of a server, one of whose messages failed. */
const observed = Effect.gen(function*() {
  const directory = yield* files
  const address = "inet:9002@127.0.0.1"
  const served = yield* start("serve", failingFilter, "--listen", address, "--http", "inet:9464@127.0.0.1")
  yield* served.shows(/INPUT_MAIL_FILTER.*\n/)
  for (const recipient of ["bob", "eve", "carol"]) {
    run(directory, "send", "hello.eml", "--to", address, "--rcpt", `${recipient}@example.net`)
  }
  return run(directory, "status", "inet:9464@127.0.0.1").text
})

/** The sections that need no filter of others, only root and Postfix. */
export const own = Effect.gen(function*() {
  const { expected, many, one } = yield* tested
  const { decoded, measured, outcome, replayed, served, traced } = yield* watched
  const state = yield* observed
  return new Map([
    [
      "test",
      terminal(
        ["effect-milter test filter.ts hello.eml", one.text],
        ["effect-milter test filter.ts Maildir", many.text],
        ["effect-milter test filter.ts spam.mbox --expect rejected; echo $?", `${expected.text}${expected.code}`]
      )
    ],
    ["try", terminal(["effect-milter try filter.ts", yield* tried])],
    [
      "trace",
      terminal(
        ["effect-milter trace --listen inet:9001 --upstream inet:9000 --record session.jsonl", traced],
        ["effect-milter replay session.jsonl --to inet:9000", replayed],
        ["effect-milter replay session.jsonl --to inet:9000 --outcome", outcome]
      )
    ],
    [
      "decode",
      terminal(["echo 0000000d4f00000006000001ff001fffff 0000000163 | effect-milter decode -", decoded])
    ],
    ["status", terminal(["effect-milter status inet:9464", state])],
    ["serve", terminal(["effect-milter serve filter.ts --listen inet:9000", served])],
    ["bench", terminal(["effect-milter bench inet:9000 --messages 500", measured])]
  ])
})

/** All sections; needs opendkim, rspamd and clamav-milter as well. */
export const sections = Effect.gen(function*() {
  const { ham, signed, spam, verified } = yield* sent
  const declarations = yield* probed
  const to = (socket: string) => `--to unix:/run/${socket}/${socket}.sock`
  return new Map([
    ...help(),
    [
      "send opendkim",
      terminal([`effect-milter send hello.eml ${to("opendkim")} --client 127.0.0.1 --output signed.eml`, signed.text])
    ],
    ["send verify", terminal([`effect-milter send signed.eml ${to("opendkim")}`, verified.text])],
    [
      "send rspamd",
      terminal(
        [`effect-milter send hello.eml ${to("rspamd")}; echo $?`, `${ham.text}${ham.code}`],
        [`effect-milter send spam.eml ${to("rspamd")}; echo $?`, `${spam.text}${spam.code}`]
      )
    ],
    ...Object.entries(declarations).map(([name, { shown, text }]): readonly [string, string] => [
      `probe ${name}`,
      terminal([`effect-milter probe ${shown}`, text])
    ]),
    ...(yield* own)
  ])
})

// --- the page

export const page = Path.join(root, "docs/operate/cli.md")

/** What a section says now; undefined if the page has none of that name. */
export const sectionOf = (text: string, name: string): string | undefined =>
  new RegExp(`<!-- ${name} -->\n([^]*?)<!-- end -->`).exec(text)?.[1]?.trim()
