/** Modification: checks of values, and their packets. */
import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "effect-milter/Envelope"
import * as Modification from "effect-milter/Modification"
import { ByteString } from "effect-milter/Wire"
import * as Result from "effect/Result"

const encoding = { leadingSpace: true, smtpUtf8: false }
const packet = (modification: Modification.Modification) => Modification.toPacket(modification, encoding)
const mailbox = (raw: string) => new Envelope.Mailbox(ByteString.fromText(raw))

describe("toPacket", () => {
  it("takes mailboxes, checked like text where a new address goes out", () => {
    const added = packet({ _tag: "AddRecipient", address: mailbox("<@relay:Bob@Example.ORG>") })
    assert.deepStrictEqual(
      added,
      Result.succeed({ _tag: "AddRecipient", recipient: ByteString.fromText("<Bob@Example.ORG>") })
    )
    for (const raw of ["<a@x>\0NOTIFY=NEVER", "<a@x>,<b@y>", "<jörg@x>", "<>", "<a\r\nb@x>"]) {
      for (const _tag of ["AddRecipient", "ChangeSender"] as const) {
        if (_tag === "ChangeSender" && raw === "<>") continue
        const result = _tag === "AddRecipient"
          ? packet({ _tag, address: mailbox(raw) })
          : packet({ _tag, address: mailbox(raw), parameters: undefined })
        assert.isTrue(Result.isFailure(result), `${_tag} ${JSON.stringify(raw)}`)
      }
    }
  })

  it("sends the bytes of a received field as they are, and text encoded", () => {
    const raw = ByteString.make(" caf\u00e9\n folded")
    assert.deepStrictEqual(
      packet({ _tag: "AddHeader", name: "X-Copy", value: { raw } }),
      Result.succeed({ _tag: "AddHeader", name: ByteString.fromText("X-Copy"), value: raw })
    )
    assert.deepStrictEqual(
      packet({ _tag: "ChangeHeader", name: "X-Copy", occurrence: 2, value: { raw } }),
      Result.succeed({ _tag: "ChangeHeader", index: 2, name: ByteString.fromText("X-Copy"), value: raw })
    )
    const forged = { raw: ByteString.make(" 1\nBcc: eve@example.org") }
    assert.isTrue(Result.isFailure(packet({ _tag: "InsertHeader", index: 1, name: "X-Copy", value: forged })))
  })

  it("sends a recipient to delete as it came, since Postfix compares the text", () => {
    const raw = "<@relay:Bob@Example.ORG>"
    assert.deepStrictEqual(
      packet({ _tag: "DeleteRecipient", address: mailbox(raw) }),
      Result.succeed({ _tag: "DeleteRecipient", recipient: ByteString.fromText(raw) })
    )
    assert.isTrue(Result.isFailure(packet({ _tag: "DeleteRecipient", address: mailbox("<a@x>\0b") })))
  })

  it("knows the null sender in all its spellings", () => {
    for (const address of ["", "<>", mailbox("<>"), mailbox("")]) {
      assert.deepStrictEqual(
        packet({ _tag: "ChangeSender", address, parameters: undefined }),
        Result.succeed({ _tag: "ChangeSender", sender: ByteString.fromText("<>") })
      )
    }
  })

  it("adds recipients with parameters that both MTAs know, and no others", () => {
    const added = (parameters: string) =>
      packet({ _tag: "AddRecipientWithParameters", address: "a@example.org", parameters })
    for (const good of ["NOTIFY=NEVER", "notify=SUCCESS,DELAY  ORCPT=rfc822;a+2Bb@example.org", ""]) {
      assert.isTrue(Result.isSuccess(added(good)), good)
    }
    // Sendmail does not add the recipient, and writes a line of its own between its replies to the client.
    for (
      const bad of [
        "FOO=BAR",
        "NOTIFY=NEVER BODY=8BITMIME",
        "SMTPUTF8",
        "NOTIFY=SOON",
        "NOTIFY",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=NEVER NOTIFY=NEVER",
        "ORCPT=a@example.org"
      ]
    ) {
      const result = added(bad)
      assert.isTrue(Result.isFailure(result), bad)
      if (Result.isFailure(result)) assert.strictEqual(result.failure.what, "ESMTP parameter of a recipient")
    }
  })

  it("refuses positions that are none", () => {
    for (const index of [-1, 0.5, Number.NaN, 2 ** 31]) {
      assert.isTrue(Result.isFailure(packet({ _tag: "InsertHeader", index, name: "A", value: "b" })))
      assert.isTrue(Result.isFailure(packet({ _tag: "ChangeHeader", occurrence: index, name: "A", value: "b" })))
      assert.isTrue(Result.isFailure(packet({ _tag: "DeleteHeader", occurrence: index, name: "A" })))
    }
    assert.isTrue(Result.isFailure(packet({ _tag: "DeleteHeader", occurrence: 0, name: "A" })))
  })
})
