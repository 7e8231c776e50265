/** Services that only this package can provide cannot be provided by halves. */
import * as MilterClient from "effect-milter/MilterClient"
import type * as MilterServer from "effect-milter/MilterServer"
import { describe, expect, it } from "tstyche"

describe("half of", () => {
  it("a listener is no listener", () => {
    expect<{ readonly addresses: ReadonlyArray<string> }>().type.not.toBeAssignableTo<
      MilterServer.Listener["Service"]
    >()
  })

  it("a dialer is no dialer", () => {
    expect<{ readonly reaches: string }>().type.not.toBeAssignableTo<MilterClient.Dialer["Service"]>()
  })

  it("an MTA is no MTA, but a copy with another offer is one", () => {
    expect<{ readonly name: string; readonly offer: MilterClient.Mta["offer"] }>().type
      .not.toBeAssignableTo<MilterClient.Mta>()
    const { offer, ...rest } = MilterClient.postfix
    expect({ ...rest, offer: { ...offer, version: 2 } }).type.toBeAssignableTo<MilterClient.Mta>()
  })
})
