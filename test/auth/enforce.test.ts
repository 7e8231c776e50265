/** What becomes of a message by its results. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Auth from "effect-milter/auth"

const signature = (more: Partial<Auth.DkimResult> = {}): Auth.DkimResult => ({
  result: "pass",
  domain: "example.org",
  selector: "a",
  algorithm: "rsa-sha256",
  aligned: true,
  testing: false,
  unsigned: 0,
  comment: undefined,
  ...more
})

const spf = (domain: string): Auth.SpfResult => ({
  result: "pass",
  domain,
  identity: "mailfrom",
  explanation: undefined
})

const results = (more: Partial<Auth.Results> = {}): Auth.Results => ({
  spf: undefined,
  dkim: [signature()],
  dmarc: { result: "pass", domain: "example.org", policy: "reject", policyDomain: "example.org", comment: undefined },
  arc: { result: "none", instance: 0, comment: undefined },
  text: "",
  ...more
})

describe("a part of the body that no signature covers", () => {
  const cut = signature({ unsigned: 9 })
  const mind = Auth.enforceDmarc({ unsigned: "fail" })

  it.effect("is nothing to DMARC", () =>
    Effect.gen(function*() {
      for (const enforce of [Auth.enforceDmarc, Auth.enforceDmarc({}), Auth.enforceDmarc({ unsigned: "pass" })]) {
        assert.strictEqual((yield* enforce(results({ dkim: [cut] })))._tag, "Continue")
      }
    }))

  it.effect("can be minded: the policy decides", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* mind(results({ dkim: [cut] })))._tag, "Reject")
      assert.strictEqual((yield* mind(results({ dkim: [cut, signature({ aligned: false })] })))._tag, "Reject")
      assert.strictEqual((yield* mind(results({ dkim: [cut, signature({ result: "fail" })] })))._tag, "Reject")
      const { dmarc } = results()
      const under = (policy: "none" | "quarantine") => results({ dkim: [cut], dmarc: { ...dmarc, policy } })
      assert.strictEqual((yield* mind(under("quarantine")))._tag, "Quarantine")
      assert.strictEqual((yield* mind(under("none")))._tag, "Continue")
    }))

  it.effect("does not matter where something else passes", () =>
    Effect.gen(function*() {
      for (
        const each of [
          results(),
          results({ dkim: [cut, signature()] }),
          results({ dkim: [cut], spf: spf("Example.org") }),
          // Then it is SPF that is aligned.
          results({ dkim: [signature({ aligned: false, unsigned: 9 })], spf: spf("bounces.example.org") })
        ]
      ) assert.strictEqual((yield* mind(each))._tag, "Continue")
      assert.strictEqual((yield* mind(results({ dkim: [cut], spf: spf("mallory.example") })))._tag, "Reject")
    }))

  it("fits where a decision is asked for", () => {
    Auth.verify({ authservId: "mx.example.net", onResult: Auth.enforceDmarc })
    Auth.verify({ authservId: "mx.example.net", onResult: mind })
  })
})
