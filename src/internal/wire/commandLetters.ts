/**
 * The commands of an MTA: their letters, and the protocol versions that introduced them. They stand apart from the fields of the
 * packets because those need Schema, which a filter does not load.
 */

const command = <const Name extends string>(name: Name, letter: string, since = 1) => ({
  name,
  letter,
  code: letter.charCodeAt(0),
  since
})

export const Negotiate = command("Negotiate", "O")
export const Macro = command("Macro", "D")
export const Connect = command("Connect", "C")
export const Helo = command("Helo", "H")
export const Mail = command("Mail", "M")
export const Rcpt = command("Rcpt", "R")
export const Data = command("Data", "T", 4)
export const Header = command("Header", "L")
export const EndOfHeaders = command("EndOfHeaders", "N", 2)
export const Body = command("Body", "B")
export const EndOfMessage = command("EndOfMessage", "E")
export const Unknown = command("Unknown", "U", 3)
export const Abort = command("Abort", "A")
export const Quit = command("Quit", "Q")
export const QuitNewConnection = command("QuitNewConnection", "K", 6)
