/**
 * What stops the server for a reason that its operator can do something about: a wrong setting, a folder that can't be
 * reached, a second server on the same database. The message says what to do; a stack trace would only hide it.
 */
export class OperatorError extends Error {}
