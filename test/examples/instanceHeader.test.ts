/** The example instance_header. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { instanceHeader } from "../../examples/instance_header/filter.ts"

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "hi"]],
  body: "Hello\n",
  macros: { connect: { daemon_name: "submission", daemon_addr: "192.0.2.25", daemon_port: "587", j: "mx.example.net" } }
}

const added = "submission; address=192.0.2.25; port=587; host=mx.example.net"

const valuesOf = (outcome: MilterClient.Outcome, name: string) =>
  MilterTest.assertAccepted(outcome).headers
    .filter((field) => field.name.toLowerCase() === name)
    .map(({ value }) => value.trim())

describe("instance_header", () => {
  it.effect("says which instance has received each message of a connection, with every MTA", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const outcomes = yield* MilterTest.run(
          instanceHeader(),
          (mta) => Effect.all([mta.sendMessage(message), mta.sendMessage(message)]),
          { as }
        )
        for (const outcome of outcomes) {
          assert.match(valuesOf(outcome, "x-smtpd-instance").join(), /^submission; address=192\.0\.2\.25;/, as.name)
        }
      }
    }))

  it.effect("removes all that came with the message, and only from that message", () =>
    Effect.gen(function*() {
      const [forged, next] = yield* MilterTest.run(
        instanceHeader("X-Instance"),
        (mta) =>
          Effect.all([
            mta.sendMessage({
              ...message,
              headers: [["X-Instance", "one"], ["Subject", "hi"], ["x-INSTANCE", "two"], ["X-Instance", ""]]
            }),
            mta.sendMessage({ ...message, headers: [["X-Instances", "another"]] })
          ])
      )
      assert.deepStrictEqual(valuesOf(forged, "x-instance"), [added])
      assert.deepStrictEqual(valuesOf(next, "x-instance"), [added])
      assert.deepStrictEqual(valuesOf(next, "x-instances"), ["another"])
      assert.lengthOf(next.modifications, 1)
    }))

  it.effect("says what the MTA tells, and nothing that would break out", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(instanceHeader(), {
        ...message,
        macros: { connect: { daemon_name: "a\r\nBcc: eve@example.org", daemon_addr: "", daemon_port: "", j: "" } }
      })
      assert.deepStrictEqual(valuesOf(outcome, "x-smtpd-instance"), ["a Bcc: eve@example.org"])
    }))
})
