/** Our signatures read by others, and those of others read by us. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { TestClock } from "effect/testing"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { describeDaemon, directory } from "../../testbed/daemon.ts"
import { opendkim, prerequisites, signingKey } from "../../testbed/opendkim.ts"
import { input, message, onward, recordsOf, toText, valuesOf } from "../auth/support/mail.ts"
import { added, inside, outside, send } from "./support/send.ts"

const bodies: { readonly [name: string]: MilterClient.Message["body"] } = {
  "a small one": "Shall we meet at noon?\r\n\r\n",
  "one without a body": "",
  "one with white space": " a  b\t \r\n\r\n c\r\n \r\n\r\n",
  "bytes that are no text": Uint8Array.from(
    { length: 1000 },
    (_, index) => index % 70 === 68 ? 13 : index % 70 === 69 ? 10 : 128 + index % 70
  ),
  "several packets": `${"0123456789 ".repeat(7)}\r\n`.repeat(3000)
}

describeDaemon("opendkim and our filters", prerequisites, () => {
  it.effect("verifies what we sign", () =>
    Effect.gen(function*() {
      // opendkim ignores a signature of 1970.
      yield* TestClock.setTime(1_700_000_000_000)
      const files = signingKey(yield* directory)
      const address = yield* opendkim(files)
      const keys = Auth.Keys.layer([
        { ...input("example.org"), selector: "test", privateKey: Redacted.make(Fs.readFileSync(files.file, "utf8")) }
      ])
      for (const canonicalization of ["relaxed/relaxed", "simple/simple"] as const) {
        for (const [name, body] of Object.entries(bodies)) {
          const signed = yield* MilterTest.message(Auth.sign({ canonicalization }), { ...message, body: body! }).pipe(
            Effect.provide(keys)
          )
          const verified = yield* send(address, { ...onward(signed), client: outside })
          assert.match(added(verified, "Authentication-Results").join(), /dkim=pass .*header\.d=example\.org/s, name)
        }
      }
    }))

  it.effect("signs what we verify", () =>
    Effect.gen(function*() {
      const files = signingKey(yield* directory)
      const address = yield* opendkim(files)
      const [, record] = /^\S+ (.*)$/m.exec(Fs.readFileSync(files.publicKeys, "utf8"))!
      for (const [name, body] of Object.entries(bodies)) {
        const signed = yield* send(address, { ...message, body: body!, client: inside })
        const verified = yield* MilterTest.message(Auth.verify({ authservId: "mx.example.net" }), onward(signed)).pipe(
          Effect.provide(Auth.Dns.layerRecords({ "test._domainkey.example.org": { TXT: [record!] } }))
        )
        assert.match(valuesOf(verified, "Authentication-Results")[0]!, /dkim=pass header\.d=example\.org/, name)
      }
    }))
})

/** dkimpy, with records on its command line; a module of the Python that Debian has. */
const dkimpy = (text: Uint8Array, records: Auth.RecordTable) =>
  Effect.callback<string>((resume) => {
    const program = `
import dkim, json, sys
records = json.loads(sys.argv[1])
def txt(name, timeout=5):
    found = records.get(name.decode().rstrip("."))
    return found["TXT"][0].encode() if found else None
message = sys.stdin.buffer.read()
cv, results, reason = dkim.arc_verify(message, dnsfunc=txt)
signatures = [dkim.DKIM(message).verify(idx=index, dnsfunc=txt) for index in range(2)]
print(json.dumps({"arc": cv.decode(), "dkim": signatures}))
`
    const child = spawn("/usr/bin/python3", ["-c", program, JSON.stringify(records)], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.on("close", () => resume(Effect.succeed(output.trim())))
    child.stdin.end(text)
    return Effect.sync(() => child.kill())
  })

describeDaemon("dkimpy and our filters", { commands: ["dkimpy-milter"], packages: "dkimpy-milter" }, () => {
  it.effect("verifies what we sign and seal", () =>
    Effect.gen(function*() {
      const authservId = "mx.relay.example"
      const signed = yield* MilterTest.message(Auth.sign(), message)
      const relay = Milter.sequence([Auth.verify({ authservId }), Auth.seal({ authservId, domain: "relay.example" })])
      const once = yield* MilterTest.message(relay, onward(signed))
      const twice = yield* MilterTest.message(relay, onward(once))
      for (const sealed of [once, twice]) {
        assert.deepStrictEqual(JSON.parse(yield* dkimpy(toText(sealed), records)), { arc: "pass", dkim: [true, true] })
      }
    }).pipe(Effect.provide(Layer.merge(Auth.Keys.layer(keys), Auth.Dns.layerRecords(records)))))
})

const keys = [input("example.org"), input("example.org", "ed25519"), input("relay.example")]
const records = recordsOf(keys)
