/** Flags that several examples have. */
import * as ClientAddress from "effect-milter/ClientAddress"
import * as Header from "effect-milter/Header"
import * as Flag from "effect/cli/Flag"
import * as Result from "effect/Result"

/** The name of a header field. */
export const fieldName = (flag: string, byDefault: string) =>
  Flag.String(flag).pipe(
    Flag.withDefault(byDefault),
    Flag.filter(
      (name) => Result.isSuccess(Header.checkName(name)),
      () => "printable ASCII characters without space and colon"
    ),
    Flag.withMetavar("NAME")
  )

/** Networks, with commas or spaces between them; none by default. */
export const networks = (flag: string) =>
  Flag.String(flag).pipe(
    Flag.withDefault(""),
    Flag.filterMap(
      (list) => Result.getSuccess(ClientAddress.network(list.split(/[\s,]+/).filter((cidr) => cidr !== ""))),
      () => "networks such as 192.0.2.0/24,2001:db8::/32"
    ),
    Flag.withMetavar("CIDR,CIDR")
  )

/** A text; without `byDefault` it has to be given. */
export const text = (flag: string, byDefault?: string) => {
  const given = Flag.String(flag).pipe(
    Flag.filter((value) => value.trim() !== "" && !value.includes("\0"), () => "a text that is not empty"),
    Flag.withMetavar("TEXT")
  )
  return byDefault === undefined ? given : Flag.withDefault(given, byDefault)
}

/** What marks a banner. */
export const identifier = (flag: string, byDefault: string) =>
  Flag.String(flag).pipe(
    Flag.withDefault(byDefault),
    Flag.filter(
      (id) => id.length <= 64 && /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(id),
      () => "at most 64 letters and digits, with single dots, underscores or hyphens between them"
    ),
    Flag.withMetavar("ID")
  )
