/** Signatures, the sharpest test of what a client sends: one byte more or less and none verifies. */
import { assert, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as MilterClient from "effect-milter/MilterClient"
import { describeDaemon, directory } from "../../testbed/daemon.ts"
import { dkimpy, prerequisites as others } from "../../testbed/daemons.ts"
import { opendkim, prerequisites, signingKey } from "../../testbed/opendkim.ts"
import { added, inside, message, outside, send, sendAll } from "./support/send.ts"

class Signer extends Context.Service<Signer, { readonly address: string }>()("test/Signer") {
  static readonly layer = Layer.effect(Signer, Effect.map(opendkim(), (address) => ({ address })))
}

/** What the next MTA gets from this one: with the signature on top. */
const signed = (message: MilterClient.Message, signature: string): MilterClient.Message => ({
  ...message,
  headers: [["DKIM-Signature", signature], ...message.headers ?? []],
  client: outside
})

const signatureOf = (outcome: MilterClient.Outcome): string => {
  const signatures = added(outcome, "DKIM-Signature")
  assert.lengthOf(signatures, 1)
  return signatures[0]!
}

const folded = "a subject that\r\n\tgoes on  and\r\n on, grüße"

const messages: { readonly [name: string]: MilterClient.Message } = {
  "a small one": message,
  "one without a body": { ...message, body: "" },
  "folds and UTF-8": { ...message, headers: [["From", "alice@example.org"], ["Subject", folded]], body: "grüße\n" },
  "bytes that are no text": {
    ...message,
    headers: [["From", "alice@example.org"], ["Subject", Uint8Array.of(0x62, 0xe9, 0xff)]],
    body: Uint8Array.from(
      { length: 3000 },
      (_, index) => index % 70 === 68 ? 13 : index % 70 === 69 ? 10 : 128 + index % 70
    )
  },
  "four packets of body": { ...message, body: `${"0123456789".repeat(7)}\r\n`.repeat(3000) }
}

describeDaemon("opendkim", prerequisites, () => {
  layer(Signer.layer)((it) => {
    for (const [name, message] of Object.entries(messages)) {
      for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
        it.effect(`signs ${name} for ${as.name}, and verifies what it signed`, () =>
          Effect.gen(function*() {
            const { address } = yield* Signer
            const signature = signatureOf(yield* send(address, { ...message, client: inside }, { as }))
            assert.match(signature, /^v=1; a=rsa-sha256; c=relaxed\/simple; d=example\.org; s=test;/)
            for (const reader of [MilterClient.postfix, MilterClient.sendmail]) {
              const verified = yield* send(address, signed(message, signature), { as: reader })
              assert.match(added(verified, "Authentication-Results").join(), /dkim=pass .*header\.d=example\.org/s)
            }
          }))
      }
    }

    it.effect("does not verify what was changed", () =>
      Effect.gen(function*() {
        const { address } = yield* Signer
        const signature = signatureOf(yield* send(address, { ...message, client: inside }))
        const changed: ReadonlyArray<MilterClient.Message> = [
          { ...message, body: "Shall we meet at one?\n" },
          { ...message, headers: [["From", "mallory@example.org"]] }
        ]
        for (const message of changed) {
          const verified = yield* send(address, signed(message, signature))
          assert.match(added(verified, "Authentication-Results").join(), /dkim=fail/)
        }
      }))

    it.effect("takes several messages on a connection, each with its own queue id", () =>
      Effect.gen(function*() {
        const { address } = yield* Signer
        const inner = { ...message, client: inside }
        const outcomes = yield* sendAll(address, [inner, { ...inner, body: "another\n" }, inner])
        const hashes = outcomes.map((outcome) => /bh=([^;]+);/.exec(signatureOf(outcome))?.[1])
        assert.strictEqual(hashes[0], hashes[2])
        assert.notStrictEqual(hashes[0], hashes[1])
        // On top, as signatures have to be.
        for (const { delivered } of outcomes) assert.isTrue(delivered?.headers[0]?.name === "DKIM-Signature")
      }))
  })
})

describeDaemon("dkimpy-milter and opendkim", {
  commands: [...others.dkimpy.commands, ...prerequisites.commands],
  packages: `${others.dkimpy.packages} ${prerequisites.packages}`
}, () => {
  it.live("one verifies what the other has signed", () =>
    Effect.gen(function*() {
      const key = signingKey(yield* directory)
      const signer = yield* dkimpy(key)
      const verifier = yield* opendkim(key)
      for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
        for (const [name, message] of Object.entries(messages)) {
          // A header that is no UTF-8 makes dkimpy give up.
          if (name === "bytes that are no text") continue
          const outcome = yield* send(signer, { ...message, client: inside }, { as })
          const verified = yield* send(verifier, signed(message, signatureOf(outcome)), { as })
          assert.match(added(verified, "Authentication-Results").join(), /dkim=pass/, name)
        }
      }
    }))
})
