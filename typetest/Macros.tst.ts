import type { Mailbox, Notify, OriginalRecipient, Parameters } from "effect-milter/Envelope"
import * as Macros from "effect-milter/Macros"
import type * as Reply from "effect-milter/Reply"
import type { Session } from "effect-milter/Stage"
import { describe, expect, it } from "tstyche"

declare const session: Session
declare const parameters: Parameters

describe("macros", () => {
  const { macros } = session

  it("have a property for each fact, undefined where nobody has told", () => {
    expect(macros.mta).type.toBe<"postfix" | "sendmail" | "unknown">()
    expect(macros.queueId).type.toBe<string | undefined>()
    expect(macros.daemon.port).type.toBe<number | undefined>()
    expect(macros.client.resolve).type.toBe<"OK" | "FAIL" | "FORGED" | "TEMP" | undefined>()
    expect(macros.tls?.version).type.toBe<string | undefined>()
    expect(macros.tls?.verified).type.toBe<boolean | undefined>()
    expect(macros.authentication?.login).type.toBe<string | undefined>()
    expect(macros.get("i")).type.toBe<string | undefined>()
  })

  it("have to be asked whether there is TLS", () => {
    // @ts-expect-error!
    void macros.tls.version
    // @ts-expect-error!
    void macros.authentication.login
  })

  it("are read only", () => {
    // @ts-expect-error!
    macros.queueId = "A"
    // @ts-expect-error!
    macros.daemon.name = "A"
    // @ts-expect-error!
    void new Macros.Macros()
  })
})

describe("parameters", () => {
  it("have the types of their RFCs", () => {
    expect(parameters.size).type.toBe<number | undefined>()
    expect(parameters.body).type.toBe<"7BIT" | "8BITMIME" | "BINARYMIME" | undefined>()
    expect(parameters.smtpUtf8).type.toBe<boolean>()
    expect(parameters.auth).type.toBe<Mailbox | undefined>()
    expect(parameters.ret).type.toBe<"FULL" | "HDRS" | undefined>()
    expect(parameters.envid).type.toBe<string | undefined>()
    expect(parameters.notify).type.toBe<ReadonlyArray<Notify> | undefined>()
    expect(parameters.orcpt).type.toBe<OriginalRecipient | undefined>()
    expect(parameters.get("MT-PRIORITY")).type.toBe<string | undefined>()
  })
})

describe("codes", () => {
  it("say their class", () => {
    expect<"550">().type.toBeAssignableTo<Reply.Code<"5">>()
    expect<"450">().type.not.toBeAssignableTo<Reply.Code<"5">>()
    expect<"5.7.1">().type.toBeAssignableTo<Reply.EnhancedCode<"5">>()
    expect<"5.7.1">().type.not.toBeAssignableTo<Reply.EnhancedCode<"4">>()
  })
})
