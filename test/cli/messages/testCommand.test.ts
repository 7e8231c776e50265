/** `effect-milter test`, and what it shares with `send`: several messages, expectations, the summary. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { bar } from "../../../src/cli/terminal/progressBar.ts"
import { describeWith } from "../../../testbed/prerequisite.ts"
import { command, complains, runAll, runWith } from "../../support/commandLine.ts"
import * as Listeners from "../../support/listeners.ts"

const module = (name: string): string => fileURLToPath(new URL(`../../support/modules/${name}`, import.meta.url))
const filter = module("filter.ts")

const messageFrom = (sender: string): string => `From: <${sender}>\nTo: bob@example.net\nSubject: hi\n\nHello\n`

const good = messageFrom("alice@example.org")
const bad = messageFrom("mallory@example.com")

/** A good and a bad message, in each form that mail is kept in. */
const mail = Effect.map(Listeners.directory, (directory) => {
  const path = (...names: ReadonlyArray<string>) => Path.join(directory, ...names)
  const write = (text: string, ...names: ReadonlyArray<string>) => {
    Fs.mkdirSync(Path.dirname(path(...names)), { recursive: true })
    Fs.writeFileSync(path(...names), text)
    return path(...names)
  }
  const from = "From x@example.org Mon Jan  5 10:00:00 2026\n"
  write(good, "Maildir", "new", "1.a")
  write(bad, "Maildir", "cur", "2.b:2,S")
  write(bad, "Maildir", "tmp", "3.c")
  write(bad, "Maildir", ".Junk", "cur", "4.d")
  write(good, "plain", "one.eml")
  write(bad, "plain", "two.eml")
  write(bad, "plain", ".hidden")
  Fs.mkdirSync(path("empty"))
  return {
    path,
    good: write(good, "good.eml"),
    bad: write(bad, "bad.eml"),
    nobody: write("Subject: no address\n\n", "nobody.eml"),
    mbox: write(`${from}${good}\n${from}${bad}\n`, "two.mbox"),
    single: write(`${from}${good}\n`, "one.mbox")
  }
})

const lines = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n")

describe("test", () => {
  it.live("reports a message as send does, with its verdict as the exit code", () =>
    Effect.gen(function*() {
      const { bad, good, path, single } = yield* mail
      const [accepted, rejected, layer, alone] = yield* runAll([
        ["test", filter, good, "--output", path("out.eml")],
        ["test", filter, bad],
        ["test", module("server.ts"), good],
        ["test", filter, single]
      ])
      assert.deepStrictEqual([accepted?.code, accepted?.stderr], [0, ""])
      assert.match(accepted!.stdout, /^accepted at end of message\n[^]*^\+X-Picky: yes$/m)
      assert.match(Fs.readFileSync(path("out.eml"), "latin1"), /^X-Picky: yes\r\n\r\nHello\r\n$/m)
      assert.strictEqual(rejected!.stdout, "rejected at mail\n  550 5.7.1 not you\n")
      assert.deepStrictEqual([rejected?.code, rejected?.stderr], [2, ""])
      assert.strictEqual(layer!.stdout, "rejected at mail\n  550 5.7.1 from a service\n")
      assert.match(alone!.stdout, /^accepted at end of message\n[^]*^\+X-Picky: yes$/m)
    }))

  it.live("reads several messages, mailboxes, Maildirs and directories, and sums up", () =>
    Effect.gen(function*() {
      const { bad, good, mbox, path } = yield* mail
      const [all, output] = yield* runAll([
        ["test", filter, good, bad, mbox, path("Maildir"), path("plain")],
        ["test", filter, mbox, "--output", path("out")]
      ])
      const printed = lines(all!.stdout.replaceAll(`${path()}/`, ""))
      const accepted = "accepted at end of message: 1 change"
      const rejected = "rejected at mail: 550 5.7.1 not you"
      assert.deepStrictEqual(printed.slice(0, 8), [
        `good.eml: ${accepted}`,
        `bad.eml: ${rejected}`,
        `two.mbox:1: ${accepted}`,
        `two.mbox:2: ${rejected}`,
        `Maildir/new/1.a: ${accepted}`,
        `Maildir/cur/2.b:2,S: ${rejected}`,
        `plain/one.eml: ${accepted}`,
        `plain/two.eml: ${rejected}`
      ])
      assert.match(printed[8]!, /^8 messages in \d+\.\d s: 4 accepted, 4 rejected$/)
      assert.strictEqual(printed[9], "changes in 4 messages: AddHeader 4")
      assert.match(printed[10]!, /^slowest: \d\.\d{3} s \S+, \d\.\d{3} s \S+, \d\.\d{3} s \S+$/)
      assert.lengthOf(printed, 11)
      assert.deepStrictEqual([all?.code, all?.stderr], [0, ""])
      assert.strictEqual(output?.code, 0)
      assert.deepStrictEqual(Fs.readdirSync(path("out")), ["0001.eml"])
      assert.match(Fs.readFileSync(path("out", "0001.eml"), "latin1"), /^X-Picky: yes\r$/m)
    }))

  it.live("compares the verdicts with the expected one", () =>
    Effect.gen(function*() {
      const { bad, good, mbox } = yield* mail
      const [asExpected, other, several, unexpected] = yield* runAll([
        ["test", filter, bad, "--expect", "rejected"],
        ["test", filter, good, "--expect", "rejected"],
        ["test", filter, bad, bad, "--expect", "rejected"],
        ["test", filter, mbox, "--expect", "rejected"]
      ])
      assert.strictEqual(asExpected?.code, 0)
      assert.deepStrictEqual([other?.code, other?.stderr], [6, "effect-milter: accepted (expected: rejected)\n"])
      assert.strictEqual(several?.code, 0)
      assert.strictEqual(unexpected?.code, 6)
      assert.match(unexpected!.stdout, /two\.mbox:1: accepted at .* \(expected: rejected\)$/m)
      assert.match(unexpected!.stdout, /^not as expected: 1$/m)
    }))

  it.live("prints a line of JSON for each message", () =>
    Effect.gen(function*() {
      const { mbox } = yield* mail
      const [json] = yield* runAll([["test", filter, mbox, "--json"]])
      assert.deepStrictEqual(
        lines(json!.stdout).map((line) => JSON.parse(line)).map(({ file, verdict }) => [file, verdict]),
        [
          [`${mbox}:1`, "Accepted"],
          [`${mbox}:2`, "Rejected"]
        ]
      )
      assert.match(json!.stderr, /^2 messages in /)
    }))

  it.live("goes on after a message that cannot be sent, and says so at the end", () =>
    Effect.gen(function*() {
      const { bad, good, nobody } = yield* mail
      const [ran] = yield* runAll([["test", filter, good, nobody, bad]])
      assert.strictEqual(ran?.code, 1)
      assert.match(ran!.stdout, /^3 messages in .*: 1 accepted, 1 rejected, 1 could not be sent$/m)
      assert.match(
        ran!.stderr,
        /^effect-milter: .*nobody\.eml: there is no address in From: .*\neffect-milter: 1 of 3 messages could not be sent\n$/
      )
    }))

  it.live("takes the envelope of delivered mail from the fields of the last MTA", () =>
    Effect.gen(function*() {
      const { path } = yield* mail
      Fs.writeFileSync(path("bounce.eml"), "Return-Path: <>\nDelivered-To: carol@example.net\nSubject: failed\n\n")
      const [ran] = yield* runAll([["test", filter, path("bounce.eml"), "--json"]])
      const { delivered } = JSON.parse(ran!.stdout)
      assert.deepStrictEqual([delivered.sender, delivered.recipients[0].address], ["", "carol@example.net"])
    }))

  it.live("reads a mailbox from standard input", () =>
    Effect.gen(function*() {
      const { mbox } = yield* mail
      const ran = yield* runWith({ stdin: Fs.readFileSync(mbox, "latin1") }, "test", filter, "-")
      assert.match(ran.stdout, /^standard input:1: accepted.*\nstandard input:2: rejected/)
      assert.strictEqual(ran.code, 0)
    }))

  it.live("shows the log of the filter on standard error, and lines of messages if told to", () =>
    Effect.gen(function*() {
      const { good } = yield* mail
      const [quiet, defect, verbose] = yield* runAll([
        ["test", filter, good],
        ["test", module("dying.ts"), good],
        ["test", filter, good, "--log-level", "info", "--verbose"]
      ])
      assert.strictEqual(quiet?.stderr, "")
      assert.match(defect!.stdout, /^refused for now at mail\n/)
      assert.match(defect!.stderr, /ERROR .*the database is not there/s)
      assert.match(verbose!.stderr, /message accepted/)
      assert.match(verbose!.stderr, /MTA {4}→ Mail sender="<alice@example\.org>"/)
    }))

  it.live("says what it cannot do", () =>
    Effect.gen(function*() {
      const { good, path } = yield* mail
      const [noFile, empty, noModule, needy, none] = yield* runAll([
        ["test", filter, path("none.eml")],
        ["test", filter, path("empty")],
        ["test", path("none.ts"), good],
        ["test", module("needy.ts"), good],
        ["test", filter]
      ])
      complains(noFile!, /cannot read .*none\.eml: there is no such file; give a message, a mailbox, a directory/)
      complains(empty!, /there is no message in .*empty: give another directory/)
      complains(noModule!, /there is no .*none\.ts/)
      complains(needy!, /needy\.ts cannot be tested: Service not found: test\/Greylist/)
      complains(none!, /MESSAGE.*--help\)/)
    }))
})

describe("send", () => {
  it.live("ends at the first message if there is no filter", () =>
    Effect.gen(function*() {
      const { bad, good } = yield* mail
      const [ran] = yield* runAll([["send", good, bad, "--to", "inet:1"]])
      complains(ran!, /^effect-milter: nobody listens on inet:1: /)
    }))
})

describe("the bar", () => {
  it("shows how far it is", () => {
    assert.strictEqual(bar(0, 10, 0), `[${" ".repeat(30)}] 0 %, 0 messages`)
    assert.strictEqual(bar(5, 10, 1), `[${"=".repeat(15)}${" ".repeat(15)}] 50 %, 1 message`)
    // Standard input has no size.
    assert.strictEqual(bar(20, 10, 2), `[${"=".repeat(30)}] 100 %, 2 messages`)
    assert.strictEqual(bar(0, 0, 0), `[${"=".repeat(30)}] 100 %, 0 messages`)
  })

  const missing = ChildProcess.spawnSync("script", ["--version"]).status === 0
    ? undefined
    : "script (util-linux) is missing"

  describeWith(missing, "on a terminal", () => {
    it.live("is shown, and removed before each line", () =>
      Effect.gen(function*() {
        const { mbox } = yield* mail
        const line = [process.execPath, ...command(["test", filter, mbox])].map((word) => `'${word}'`).join(" ")
        const { stdout } = ChildProcess.spawnSync("script", ["-qec", line, "/dev/null"], {
          encoding: "utf8",
          env: { ...process.env, NO_COLOR: "1", TERM: "xterm" }
        })
        assert.match(stdout, /two\.mbox:1: accepted.*\r\n\r\u001b\[K\[=.*\r\u001b\[K.*two\.mbox:2: rejected/s)
        assert.match(stdout, /\n2 messages in /)
      }))
  })
})
