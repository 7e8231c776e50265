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
