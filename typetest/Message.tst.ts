// The mistakes below are the point.
// @effect-diagnostics missingEffectError:off missingLayerContext:off
import { Context, Effect, Ref, Stream } from "effect"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import * as Verdict from "effect-milter/Verdict"
import { describe, expect, it } from "tstyche"

class ScanFailed {
  readonly _tag = "ScanFailed"
}
class Scanner extends Context.Service<
  Scanner,
  { readonly isClean: <E>(bytes: Stream.Stream<Uint8Array, E>) => Effect.Effect<boolean, E | ScanFailed> }
>()("Scanner") {}

const goOn = Effect.succeed(Verdict.continue)

describe("the result", () => {
  it("is a filter with the failures and needs of its hooks", () => {
    const filter = Message.make("scan").on({
      document: Effect.fnUntraced(function*({ source }) {
        const scanner = yield* Scanner
        return (yield* scanner.isClean(source)) ? Verdict.continue : Verdict.reject()
      })
    })
    expect(filter).type.toBe<Milter.Made<ScanFailed, Scanner>>()
    expect(Milter.onFailure(filter, () => Effect.succeed("pass"))).type.toBe<Milter.Made<never, Scanner>>()
    expect(MilterServer.layer).type.not.toBeCallableWith(filter)
  })

  it("joins those of its builders and of a stream", () => {
    const filter = Message.make("rewrite", {
      modify: ["body"],
      connection: () => Effect.as(Scanner, 1),
      message: (_, { connection }) => Effect.fail(connection)
    }).on({
      document: (document) => Effect.as(document.replaceBody(Stream.fail("broken" as const)), Verdict.continue)
    })
    expect(filter).type.toBe<Milter.Made<number | "broken", Scanner>>()
  })

  it("goes into a sequence", () => {
    const nothing = Message.make("nothing").on({ document: () => goOn })
    expect(Milter.sequence([nothing])).type.toBe<Milter.Made<never, never>>()
  })
})

describe("parts", () => {
  it("are read by all that have the body, and edited by those that say so", () => {
    expect<Message.Document["mime"]>().type.toBe<Message.Mime>()
    expect<Message.Document<"headers">["mime"]>().type.toBe<Message.Mime>()
    expect<Message.Document<"mime">["mime"]>().type.toBe<Message.EditableMime>()
    expect<Message.Document<"mime" | "body">["mime"]>().type.toBe<Message.EditableMime>()
    expect<Message.Document<"mime", false>>().type.not.toHaveProperty("mime")
    expect<Message.Document<"mime">>().type.not.toHaveProperty("replaceBody")
    expect<Message.MimePart>().type.not.toHaveProperty("replace")
  })

  it("that are edited may be refused, those that are read cannot", () => {
    const editing = Message.make("editing", { modify: ["mime"] }).on({
      document: ({ mime }) => Effect.as(mime.append({ text: "x" }), Verdict.continue)
    })
    expect(editing).type.toBe<Milter.Made<Message.NotEditable, never>>()
    const reading = Message.make("reading").on({ document: ({ mime }) => Effect.as(mime.tree, Verdict.continue) })
    expect(reading).type.toBe<Milter.Made<never, never>>()
  })

  it("take the failures and needs of a stream that is attached", () => {
    const attaching = Message.make("attaching", { modify: ["mime"] }).on({
      document: Effect.fnUntraced(function*({ mime }) {
        const content = Stream.unwrap(Effect.as(Scanner, Stream.fail("broken" as const)))
        yield* mime.attach({ filename: "a", type: "a/b", content })
        return Verdict.continue
      })
    })
    expect(attaching).type.toBe<Milter.Made<"broken" | Message.NotEditable, Scanner>>()
  })
})

describe("a size", () => {
  const { make } = Message

  it("has an answer when it is exceeded", () => {
    for (const tooLarge of ["pass", Verdict.reject(), Verdict.tempFail(), "truncate"] as const) {
      expect(make).type.toBeCallableWith("limited", { maxBytes: 1, tooLarge })
      expect(make).type.toBeCallableWith("limited", { maxBytes: 1, tooLarge, modify: ["headers", "quarantine"] })
    }
    expect(make).type.not.toBeCallableWith("limited", { maxBytes: 1, tooLarge: "reject" })
  })

  it("cuts only a body that is not edited", () => {
    const tooLarge = "truncate"
    expect(make).type.not.toBeCallableWith("cut", { maxBytes: 1, tooLarge, modify: ["body"] })
    expect(make).type.not.toBeCallableWith("cut", { maxBytes: 1, tooLarge, modify: ["headers", "mime"] })
    expect(make).type.not.toBeCallableWith("cut", { maxBytes: 1, tooLarge, body: false })
    expect<Message.Document>().type.toHaveProperty("isTruncated")
    expect<Message.Document<never, false>>().type.not.toHaveProperty("isTruncated")
  })
})

describe("hooks", () => {
  it("get the state of connection and message", () => {
    Message.make("state", { connection: () => Effect.succeed("c"), message: () => Ref.make(0) }).on({
      connect: (_, { connection }) => {
        expect(connection).type.toBe<string>()
        return goOn
      },
      rcpt: (_, { message }) => {
        expect(message).type.toBe<Ref.Ref<number>>()
        return goOn
      },
      endOfHeaders: (head, { connection, message }) => {
        expect(head).type.toBe<Message.Head>()
        expect(connection).type.toBe<string>()
        expect(message).type.toBe<Ref.Ref<number>>()
        return goOn
      },
      document: (document, { message }) => {
        expect(document).type.toBe<Message.Document>()
        expect(message).type.toBe<Ref.Ref<number>>()
        return goOn
      }
    })
  })

  const { on } = Message.make("hooks")

  it("give verdicts that are legal there", () => {
    expect(on).type.not.toBeCallableWith({ document: () => Effect.succeed(Verdict.skipBody) })
    expect(on).type.not.toBeCallableWith({ document: () => Effect.succeed(Verdict.acceptConnection) })
    expect(on).type.not.toBeCallableWith({ document: () => Effect.void })
    expect(on).type.not.toBeCallableWith({ document: () => goOn, mail: () => Effect.succeed(Verdict.acceptConnection) })
    expect(on).type.toBeCallableWith({ document: () => Effect.succeed(Verdict.discardMessage) })
  })

  it("are those that there are, document among them", () => {
    expect(on).type.not.toBeCallableWith({})
    expect(on).type.not.toBeCallableWith({ document: () => goOn, body: () => goOn })
  })
})

describe("a document", () => {
  it("can be edited where that is declared", () => {
    expect<Message.Document<"headers">["headers"]>().type.toBeAssignableTo<Message.EditableHeaders>()
    expect<Message.Document>().type.toHaveProperty("body")
    expect<Message.Document<"body">>().type.toHaveProperty("replaceBody")
    expect<Message.Document<"recipients">>().type.toHaveProperty("addRecipient")
    expect<Message.Document<"recipients">>().type.toHaveProperty("removeRecipient")
    expect<Message.Document<"sender">>().type.toHaveProperty("setSender")
    expect<Message.Document<"quarantine">>().type.toHaveProperty("quarantine")
  })

  it("cannot be edited elsewhere", () => {
    type ReadOnly = Message.Document
    expect<ReadOnly["headers"]>().type.not.toHaveProperty("set")
    expect<ReadOnly["headers"]>().type.not.toHaveProperty("append")
    type Others = Message.Document<"headers">
    expect<Others>().type.not.toHaveProperty("replaceBody")
    expect<Others>().type.not.toHaveProperty("addRecipient")
    expect<Others>().type.not.toHaveProperty("removeRecipient")
    expect<Others>().type.not.toHaveProperty("setSender")
    expect<Others>().type.not.toHaveProperty("quarantine")
  })

  it("has no body if the filter does without, though it may give it one", () => {
    type Without = Message.Document<"body", false>
    expect<Without>().type.not.toHaveProperty("body")
    expect<Without>().type.not.toHaveProperty("source")
    expect<Without>().type.toHaveProperty("replaceBody")
  })

  it("is what the options say", () => {
    Message.make("options", { modify: ["headers", "sender"], body: false }).on({
      document: (document) => {
        expect(document).type.toBe<Message.Document<"headers" | "sender", false>>()
        return goOn
      }
    })
    expect(Message.make).type.not.toBeCallableWith("options", { modify: ["subject"] })
  })
})
