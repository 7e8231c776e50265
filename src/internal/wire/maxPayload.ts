/** The most bytes that MTAs put into one body packet, and that libmilter accepts. */
export const maxPayload = 65535
