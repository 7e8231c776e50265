/** `effect-milter decode` on what tcpdump captures of a real conversation. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Result, Schedule } from "effect"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Recording from "effect-milter/Recording"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { spawn } from "../../testbed/childProcess.ts"
import { describeWith, notRoot } from "../../testbed/prerequisite.ts"
import { complains, run, runAll } from "../support/commandLine.ts"
import * as Listeners from "../support/listeners.ts"
import picky from "../support/modules/filter.ts"

const missing = ChildProcess.spawnSync("tcpdump", ["--version"]).status === 0 ? notRoot : "tcpdump is not installed"

describeWith(missing, "a capture of tcpdump", () => {
  it.live("is decoded, recorded and played again", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(
        MilterServer.layer(picky).pipe(
          Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
          Layer.provide(Listeners.quiet)
        )
      )
      const to = Context.get(context, MilterServer.Listener).addresses[0]!
      const port = /^inet:(\d+)/.exec(to)![1]!
      const directory = yield* Listeners.directory
      // tcpdump gives up its rights.
      Fs.chmodSync(directory, 0o777)
      const path = (name: string) => Path.join(directory, name)
      Fs.writeFileSync(
        path("m.eml"),
        `From: a@example.org\nTo: b@example.net\nSubject: hi\n\n${"line\n".repeat(40_000)}`
      )
      const tcpdump = yield* spawn("tcpdump", [
        "-i",
        "lo",
        "-s",
        "0",
        "--immediate-mode",
        "-U",
        "-w",
        path("milter.pcap"),
        "port",
        port
      ])
      yield* tcpdump.shows(/listening on lo/)
      assert.strictEqual((yield* run("send", path("m.eml"), "--to", to)).code, 0)
      assert.strictEqual((yield* run("send", path("m.eml"), "--to", to, "--from", "mallory@example.com")).code, 2)
      // The end of the second conversation has been written.
      yield* Effect.sync(() => Fs.readFileSync(path("milter.pcap")).includes("not you")).pipe(
        Effect.repeat({ until: (isThere) => isThere, schedule: Schedule.spaced("50 millis") })
      )
      yield* tcpdump.signal("SIGINT")
      assert.strictEqual(yield* tcpdump.exit, 0)

      const [decoded, redacted, other] = yield* runAll([
        ["decode", path("milter.pcap"), "--record", path("session.jsonl")],
        ["decode", path("milter.pcap"), "--redact"],
        ["decode", path("milter.pcap"), "--port", "1"]
      ])
      assert.deepStrictEqual([decoded?.code, decoded?.stderr], [0, ""])
      const lines = decoded!.stdout.split("\n")
      assert.match(lines[0]!, /^ {2}1 \d\d:\d\d:\d\d\.\d{3} +0\.\d{3} 127\.0\.0\.1:\d+ connects to 127\.0\.0\.1:\d+$/)
      assert.match(lines[1]!, /^ {2}1 \d\d:\d\d:\d\d\.\d{3} +0\.\d{3} MTA {4}→ Negotiate version 6; actions: all/)
      assert.match(decoded!.stdout, /^ {2}1 .* filter ← AddHeader X-Picky: yes$/m)
      assert.match(decoded!.stdout, /^ {2}2 .* filter ← ReplyCode text="550 5\.7\.1 not you"$/m)
      assert.match(decoded!.stdout, /^ {2}1 .* has closed$/m)
      assert.notMatch(redacted!.stdout, /mallory|127\.0\.0\.1/)
      complains(other!, /has no conversation with a milter among 0 TCP connections: give --port PORT/)

      const recording = Result.getOrThrow(Recording.parse(Fs.readFileSync(path("session.jsonl"), "utf8")))
      const [description] = recording
      const started = description?._tag === "Description" ? Date.parse(description.started!) : NaN
      assert.isTrue(Math.abs(Fs.statSync(path("milter.pcap")).mtimeMs - started) < 600_000, String(started))
      const [same, outcome] = yield* runAll([
        ["replay", path("session.jsonl"), "--to", to],
        ["replay", path("session.jsonl"), "--to", to, "--outcome"]
      ])
      assert.strictEqual(same?.code, 0, same?.stdout)
      assert.strictEqual(outcome?.code, 0, outcome?.stdout)
      assert.match(outcome!.stdout, /^2 messages: same outcome$/m)
    }))
})
