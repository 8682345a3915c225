"""Whose fault an error of MySQL is. Pure.

Source: MySQL 9.7's error reference ("Server Error Message Reference", "Client Error Message Reference"). The lists have
the codes that a write to a copy can give, also through what operators add to its table: indexes, constraints, triggers,
generated columns and partitions. Codes with no list are `Fault.UNKNOWN`.
"""

import re

from asyncmy.errors import MySQLError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service_kit.error_texts import error_message, error_reason
from sync_service.sinks.base import Rejected, Unavailable
from sync_service.sinks.errors import Fault, failure
from sync_service.sinks.mysql.ddl import SOURCE_ID

# The account, or the schema of the address.
_LOGIN_CODES = frozenset({1044, 1045, 1049})
# The values of a row, or the size of the statement, which is smaller for fewer rows.
ROW_CODES = frozenset(
    {
        1022,  # can't write; duplicate key
        1048,  # column can't be null
        1062,  # duplicate entry, of a unique index that an operator has added
        1118,  # row size too large (for a write; the statement that creates a table is the route's)
        1138,  # invalid use of NULL
        1153,  # packet larger than max_allowed_packet
        1162,  # result longer than max_allowed_packet
        1169,  # duplicate entry of a unique constraint
        1172,  # a trigger's SELECT INTO finds several rows
        1197,  # transaction larger than max_binlog_cache_size
        1216,  # foreign key: no parent row
        1217,  # foreign key: row is referenced
        1242,  # a trigger's subquery returns several rows
        1264,  # out of range
        1265,  # data truncated
        1292,  # incorrect value, such as a date
        1300,  # invalid character string
        1301,  # result larger than max_allowed_packet
        1365,  # division by 0
        1366,  # incorrect value for column
        1367,  # illegal value found during parsing
        1406,  # data too long
        1411,  # incorrect value for function
        1416,  # invalid geometry
        1441,  # datetime function overflow
        1451,  # foreign key: row is referenced
        1452,  # foreign key: no parent row
        1525,  # incorrect value
        1526,  # no partition for the value
        1586,  # duplicate entry, with the index's name
        1591,  # no partition for the values
        1643,  # a trigger signals that it found no data
        1644,  # a trigger signals an error
        1645,  # a trigger signals an error again
        1690,  # value out of range in an expression
        1705,  # statement larger than max_binlog_stmt_cache_size
        1713,  # undo log record too big
        1737,  # row does not match the partition
        1748,  # row does not match the given partitions
        1761,  # foreign key: duplicate entry in the child table
        1762,  # foreign key: duplicate entry in a child table
        1863,  # row in the wrong partition
        3008,  # foreign key: cascade too deep
        3020,  # invalid argument for logarithm
        3033,  # geometries of different reference systems
        3034,  # unsupported geometry argument
        3035,  # unknown geometry error
        3036,  # unknown geometry exception
        3037,  # invalid geometry data
        3038,  # geometry: empty input
        3039,  # geometry: centroid
        3040,  # geometry: invalid input of an overlay
        3041,  # geometry: turn information
        3042,  # geometry: self-intersection
        3043,  # geometry: unknown exception
        3045,  # geometry: domain error
        3046,  # geometry: length error
        3047,  # geometry: invalid argument
        3048,  # geometry: out of range
        3049,  # geometry: overflow
        3050,  # geometry: range error
        3051,  # geometry: underflow
        3052,  # geometry: logic error
        3055,  # geometry: wrong byte order
        3064,  # incorrect type for an argument
        3069,  # invalid JSON data
        3070,  # GeoJSON: missing member
        3071,  # GeoJSON: wrong type
        3072,  # GeoJSON: unspecified
        3073,  # unsupported number of coordinates
        3122,  # geometry: inconsistent turns
        3134,  # geometry: too many points
        3140,  # invalid JSON text
        3141,  # invalid JSON text in a function
        3142,  # invalid binary JSON
        3144,  # JSON from a string with another character set
        3145,  # JSON: character set of a function's argument
        3146,  # invalid type for JSON
        3147,  # can't cast to JSON
        3150,  # JSON too large
        3151,  # JSON key too long
        3155,  # number in JSON out of range
        3156,  # invalid JSON value for a cast
        3157,  # JSON too deep
        3158,  # JSON key is NULL
        3186,  # statement exceeds parser_max_mem_size
        3231,  # write set larger than Group Replication's limit
        3513,  # bitwise operands of different sizes
        3516,  # unexpected geometry type
        3548,  # unknown spatial reference system
        3616,  # longitude out of range
        3617,  # latitude out of range
        3643,  # geometry of another reference system than the column
        3665,  # missing value of JSON_TABLE
        3666,  # wrong value of JSON_TABLE
        3669,  # value of JSON_TABLE out of range
        3673,  # column can't be null
        3684,  # regular expression: buffer overflow
        3685,  # regular expression: illegal argument
        3686,  # regular expression: index out of bounds
        3698,  # regular expression: stack overflow
        3699,  # regular expression: timeout
        3727,  # polygon too large
        3731,  # longitude of a parameter out of range
        3732,  # latitude of a parameter out of range
        3751,  # data truncated for a functional index
        3752,  # data out of range for a functional index
        3819,  # check constraint violated
        3853,  # invalid JSON type
        3854,  # can't convert string
        3903,  # invalid JSON value for a functional index
        3904,  # JSON value out of range for a functional index
        3905,  # too many keys of a multi-valued index
        3906,  # keys of a multi-valued index too long
        3907,  # data too long for a functional index
        3908,  # wrong value for a multi-valued index
        3912,  # timestamp in a change of daylight saving time
        3934,  # JSON schema violated
        3966,  # missing JSON value
        3967,  # several JSON values
        3988,  # character that the column's character set lacks
        3997,  # invalid time zone interval
        3998,  # invalid cast
        4032,  # invalid cast to geometry
        4033,  # invalid cast: direction of a ring
        4074,  # value out of range
        4122,  # bad timestamp format
        6136,  # data incompatible with VECTOR
        6137,  # too many dimensions for VECTOR
        6138,  # can't convert to VECTOR
        6527,  # temporal function overflow
    }
)

# The route's table, its rights, or the statement: every row would fail.
ROUTE_CODES = frozenset(
    {
        1017,  # the table's file is missing
        1031,  # the storage engine does not have this option
        1033,  # incorrect information in the table's file
        1034,  # incorrect key file for the table
        1035,  # old key file for the table
        1044,  # access to the schema denied
        1046,  # no schema selected
        1049,  # unknown schema
        1050,  # table exists
        1051,  # unknown table
        1052,  # ambiguous column
        1054,  # unknown column
        1059,  # identifier too long
        1060,  # duplicate column name (names that differ in case are equal)
        1061,  # duplicate key name
        1063,  # incorrect column specifier
        1064,  # parse error
        1066,  # table or alias not unique
        1067,  # invalid default
        1068,  # several primary keys
        1069,  # too many keys
        1070,  # too many key parts
        1071,  # key too long
        1072,  # key column does not exist
        1073,  # BLOB can't be a key
        1074,  # column too long
        1075,  # several AUTO_INCREMENT columns
        1089,  # incorrect prefix of a key
        1093,  # table can't be used in its own statement
        1099,  # table locked for reading
        1100,  # table not locked
        1101,  # BLOB can't have a default
        1102,  # incorrect schema name
        1103,  # incorrect table name
        1109,  # unknown table
        1110,  # column specified twice
        1112,  # table uses an extension that the server lacks
        1113,  # table without columns
        1115,  # unknown character set
        1117,  # too many columns
        1128,  # function of a trigger is not defined
        1136,  # number of values does not match
        1142,  # access to the table denied
        1143,  # access to a column denied
        1146,  # no such table
        1148,  # command not allowed
        1149,  # syntax error
        1163,  # the storage engine has no BLOB
        1166,  # incorrect column name
        1167,  # the storage engine can't index the column
        1170,  # BLOB in a key without a length
        1171,  # primary key with NULL
        1173,  # the table needs a primary key
        1176,  # no such key
        1178,  # the storage engine does not support this
        1193,  # unknown system variable of a trigger
        1194,  # table crashed
        1195,  # table crashed, and repair failed
        1210,  # incorrect arguments
        1227,  # access denied: a privilege is missing
        1231,  # a trigger sets a variable wrongly
        1235,  # not supported
        1253,  # collation does not fit the character set
        1267,  # mix of 2 collations
        1270,  # mix of 3 collations
        1271,  # mix of collations
        1273,  # unknown collation
        1286,  # unknown storage engine
        1288,  # table can't be updated
        1289,  # feature disabled
        1295,  # not supported as a prepared statement
        1305,  # function of a trigger does not exist
        1318,  # wrong number of arguments of a routine
        1336,  # statement not allowed in a trigger
        1347,  # a view where a table should be
        1348,  # column can't be updated
        1354,  # view can't be merged
        1356,  # view invalid
        1362,  # a trigger updates what it may not
        1363,  # a trigger has no such row
        1364,  # column without a default, which the route does not write
        1369,  # a view's check option
        1370,  # access to a routine denied
        1415,  # a trigger returns a result set
        1422,  # commit in a trigger
        1423,  # view over a column without a default
        1424,  # recursive routine
        1425,  # too big scale
        1426,  # too big precision
        1427,  # scale larger than precision
        1435,  # trigger in the wrong schema
        1437,  # routine too long
        1439,  # display width too big
        1442,  # a trigger updates the table that it belongs to
        1449,  # the definer of a view or trigger does not exist
        1450,  # change of schema forbidden
        1454,  # trigger without a definer
        1455,  # old format of the table's file
        1456,  # recursion limit
        1459,  # table needs an upgrade
        1467,  # AUTO_INCREMENT exhausted
        1471,  # table can't be inserted into
        1478,  # the storage engine refuses an option
        1582,  # wrong number of arguments of a function
        1583,  # wrong arguments of a function
        1584,  # wrong arguments of a stored function
        1602,  # trigger file corrupted
        1603,  # trigger without a creation context
        1604,  # trigger with an invalid creation context
        1630,  # function does not exist
        1701,  # table is referenced by a foreign key
        1706,  # statement updates a key twice
        1707,  # table needs to be rebuilt
        1709,  # index column too long
        1710,  # error in a trigger's body
        1711,  # error in an unknown trigger's body
        1712,  # index corrupt
        1726,  # storage engine not supported
        1735,  # unknown partition
        1785,  # table without transactions, which GTIDs forbid
        1808,  # table does not match its file
        1812,  # tablespace missing
        1814,  # tablespace discarded
        1817,  # index of InnoDB corrupt
        1845,  # change of the table not supported
        1846,  # change of the table not supported, with a reason
        1877,  # table corrupt
        3098,  # a plugin's check before the write failed (Group Replication: no primary key)
        3102,  # generated column uses a forbidden function
        3105,  # value for a generated column
        3106,  # generated column: action not supported
        3143,  # invalid JSON path
        3148,  # JSON path with another character set
        3149,  # JSON path with a wildcard
        3153,  # JSON path is vacuous
        3154,  # JSON: neither one nor all
        3161,  # storage engine disabled
        3503,  # schema does not exist
        3507,  # change of the data dictionary
        3510,  # tablespace missing, with its name
        3552,  # no access to the system schema
        3554,  # no access to a system table
        3557,  # no access to the table
        3566,  # no access to a native function
        3618,  # function not implemented for the reference system
        3629,  # file of the tablespace missing
        3688,  # regular expression: syntax error
        3689,  # regular expression: bad escape
        3690,  # regular expression: not implemented
        3691,  # regular expression: parentheses
        3692,  # regular expression: bad interval
        3693,  # regular expression: maximum less than minimum
        3694,  # regular expression: back reference
        3695,  # regular expression: look-behind
        3696,  # regular expression: bracket missing
        3697,  # regular expression: invalid range
        3700,  # regular expression: pattern too big
        3704,  # function not implemented for Cartesian reference systems
        3705,  # function not implemented for projected reference systems
        3734,  # foreign key: no such column
        3750,  # table without a primary key
        3776,  # foreign key: engine
        3780,  # foreign key: incompatible columns
        3879,  # access to the schema denied
        3887,  # regular expression: invalid group name
        3889,  # error of a secondary engine
        3890,  # secondary engine forbids the statement
        3900,  # regular expression: invalid flag
        3913,  # table name causes too long a path
        3981,  # engine attribute not supported
        3986,  # implicit comparison of JSON
        3987,  # function does not support the character set
        3994,  # invalid use of a parameter
        3995,  # mismatch of character sets
        4028,  # table without a visible column
        4092,  # too many instant changes of the table
        4157,  # row too large for an instant change
        4158,  # too many columns for an instant change
        6038,  # access denied: one of the privileges is missing
        6120,  # statement not allowed in a trigger
        6123,  # partition by a key's prefix
        6125,  # foreign key without a unique index in the parent
        6134,  # a value that is not scalar as a key
        6135,  # incompatible types
        6444,  # denied by the firewall
        6575,  # foreign key: cascade over too many tables
        6576,  # foreign key: cascade with a trigger
        6577,  # foreign key: cascade to the table in use
    }
)

# The server, its disks, locks and limits, or the connection.
DEPENDENCY_CODES = frozenset(
    {
        1004,  # can't create a file
        1012,  # can't read a system table
        1013,  # can't get the status of a file
        1015,  # can't lock a file
        1016,  # can't open the table's file
        1018,  # can't read a directory
        1020,  # record has changed since it was read
        1024,  # error on reading a file
        1025,  # error on renaming a file
        1026,  # error on writing a file
        1027,  # file locked against change
        1030,  # error of the storage engine
        1032,  # can't find a record
        1036,  # table is read only
        1037,  # out of memory
        1038,  # out of sort memory
        1040,  # too many connections
        1041,  # out of resources
        1042,  # can't resolve the host name
        1043,  # bad handshake
        1045,  # access denied to the account
        1047,  # unknown command
        1053,  # server shutdown
        1079,  # shutdown complete
        1080,  # forcing connections to close
        1081,  # can't create a socket
        1086,  # file exists
        1114,  # table full
        1129,  # host blocked
        1130,  # host not allowed
        1135,  # can't create a thread
        1152,  # connection aborted
        1154,  # read error from the connection pipe
        1155,  # error from fcntl()
        1156,  # packets out of order
        1157,  # can't uncompress a packet
        1158,  # error on reading packets
        1159,  # timeout on reading packets
        1160,  # error on writing packets
        1161,  # timeout on writing packets
        1180,  # error during COMMIT
        1181,  # error during ROLLBACK
        1182,  # error during FLUSH LOGS
        1184,  # connection aborted
        1192,  # locked tables or an active transaction
        1196,  # rollback was not complete
        1203,  # too many connections of the account
        1205,  # lock wait timeout
        1206,  # too many locks
        1207,  # read-only transaction
        1213,  # deadlock
        1223,  # read lock of FLUSH TABLES
        1226,  # limit of the account reached
        1251,  # authentication not supported
        1290,  # an option such as --read-only prevents the statement
        1296,  # error of the storage engine, with its message
        1297,  # temporary error of the storage engine
        1298,  # unknown time zone
        1317,  # statement interrupted
        1374,  # error on reading the index of binary logs
        1376,  # error of fseek()
        1408,  # server starting
        1412,  # definition of the table has changed
        1436,  # thread stack overrun
        1461,  # too many prepared statements
        1524,  # authentication plugin not loaded
        1534,  # binary log could not be written
        1556,  # log table can't be locked
        1587,  # too many open files
        1593,  # fatal error of the binary log
        1598,  # binary logging impossible
        1606,  # trigger can't open a table
        1612,  # binary log file missing
        1613,  # transaction rolled back: timeout
        1614,  # transaction rolled back: deadlock
        1615,  # statement needs to be prepared again
        1622,  # rollback was not complete
        1637,  # too many concurrent transactions
        1661,  # binary logging impossible: engines of both formats
        1662,  # binary logging impossible: row format
        1665,  # binary logging impossible: statement format
        1689,  # wait for a lock aborted
        1725,  # table is in a check of foreign keys
        1775,  # GTIDs exhausted
        1778,  # implicit commit while GTID_NEXT is set
        1786,  # statement violates GTID consistency
        1792,  # read-only transaction
        1799,  # online change of the table: log too big
        1807,  # tablespace: checks of foreign keys are running
        1810,  # error on reading a page
        1811,  # error on writing a page
        1820,  # password must be changed
        1835,  # malformed packet
        1836,  # read-only mode
        1837,  # GTID_NEXT is not set
        1862,  # password must be changed before the login
        1866,  # binary log corrupt
        1869,  # AUTO_INCREMENT conflicts with the log
        1873,  # access denied on changing the user
        1874,  # InnoDB read only
        1878,  # temporary file can't be written
        1881,  # InnoDB in forced recovery
        1884,  # statement can't be split for its GTID
        3000,  # file corrupt
        3003,  # storage engine not loaded
        3015,  # storage engine out of memory
        3019,  # undo log full
        3024,  # statement took too long
        3032,  # server offline
        3044,  # out of memory
        3058,  # deadlock of user locks
        3068,  # answer too large
        3100,  # a plugin's hook failed
        3101,  # rolled back during the commit (Group Replication)
        3118,  # account locked
        3132,  # deadlock of service locks
        3133,  # timeout of service locks
        3159,  # secure transport required
        3160,  # no secure transport configured
        3166,  # buffer pool being resized
        3168,  # server not available
        3169,  # session killed
        3170,  # memory capacity exceeded
        3171,  # memory capacity of the range optimizer exceeded
        3177,  # lock refused by the storage engine
        3185,  # encryption key not found
        3572,  # lock not available immediately
        3633,  # clone: change of a table waits
        3655,  # operation not allowed
        3675,  # disk full
        3781,  # Group Replication: wait timed out
        3782,  # Group Replication: wait killed
        3783,  # Group Replication: member in error
        3784,  # binary log encryption: key can't be fetched
        3785,  # binary log encryption: key not found
        3786,  # binary log encryption: invalid key
        3787,  # binary log encryption: header
        3790,  # binary log encryption: key can't be generated
        3791,  # binary log encryption: key can't be stored
        3796,  # Group Replication: consistency not allowed
        3797,  # Group Replication: consistency before
        3798,  # Group Replication: consistency after, on begin
        3799,  # Group Replication: begin not allowed
        3801,  # binary log encryption failed
        3955,  # account locked after failed logins
        3985,  # out of metadata locks
        3989,  # schema read only
        4029,  # compression failed
        4031,  # client idle for too long
        4049,  # Group Replication: secondary
        4081,  # memory limit of all connections
        4082,  # memory limit of the connection
        4090,  # command with an assigned GTID
        4094,  # Group Replication: primary is being changed
        4156,  # read-only mode
        6127,  # access denied without a proxy
        6126,  # access denied: no proxy grant
        6400,  # server offline, with a reason
        6411,  # too many prepared statements
    }
)

# Codes of the client library, such as a lost connection.
_CLIENT_CODES = range(2000, 3000)
_PACKET_TOO_LARGE = 2020
# The sink's statement assigns NULL to `sync_source_id` to refuse a row.
_NOT_NULL = 1048
# Its message quotes the statement, whose values the driver has inserted.
_SYNTAX = 1064
# Messages of other faults quote only names, of tables or accounts.
_QUOTING = (Fault.ROW, Fault.UNKNOWN)


def fault_of(code: int) -> Fault:
    if code in ROW_CODES or code == _PACKET_TOO_LARGE:
        return Fault.ROW
    if code in ROUTE_CODES:
        return Fault.ROUTE
    return Fault.DEPENDENCY if code in DEPENDENCY_CODES or code in _CLIENT_CODES else Fault.UNKNOWN


def is_about_a_row(error: BaseException) -> bool:
    return isinstance(error, MySQLError) and bool(error.args) and fault_of_error(error) is Fault.ROW


def fault_of_error(error: MySQLError) -> Fault:
    """Errors of the driver itself have no code. They are about the connection."""
    code = error.args[0] if error.args else None
    return fault_of(code) if type(code) is int else Fault.DEPENDENCY


def translated(error: Exception, *, of_row: bool = True) -> Rejected | Unavailable:
    """The exception of the sink for an error of the driver. Without a row to blame (`of_row`), it is the route's."""
    if isinstance(error, UnicodeError | OverflowError):
        return Rejected(str(error))
    orig = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(orig, MySQLError) and orig.args:
        code, *message = orig.args
        if code == _NOT_NULL and SOURCE_ID in " ".join(map(str, message)):
            return Rejected("another row of the source has the same key in the copy: see docs/conversions.md, Keys")
        return failure(fault_of_error(orig), "MySQL", reason_of(error), of_row=of_row)
    if isinstance(error, PoolTimeoutError):
        return Unavailable("MySQL: no free connection")
    return Unavailable(f"MySQL: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """The code and the message of an error of the driver, without values; the class of another one."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(orig, MySQLError) or not orig.args:
        return error_reason(error)
    code, *message = map(str, orig.args)
    reason = " ".join(message)
    if fault_of_error(orig) in _QUOTING or orig.args[0] == _SYNTAX:
        reason = _without_values(reason)
    return f"{code}: {reason}" if reason else code


# What follows a value that a message quotes. The value itself may contain these words, so the last ones count.
_AFTER_VALUE = re.compile(r".*( for (?:column|key|function) .*)", re.DOTALL)
# The names with which a message begins.
_NAMES = re.compile(r"(?:[^']*\b(?:column|key|constraint|table|index) '[^']*')+", re.IGNORECASE)
# The one value that a message has without quotes, a longitude or latitude.
_COORDINATE = re.compile(r"-?\d+\.\d{6}\b")


def _without_values(message: str) -> str:
    """The message with the names that it quotes, and without values of the row.

    Reasons are logged, and values may be personal. (A trigger of an operator's own says what the operator wrote.)
    """
    message = _COORDINATE.sub("…", message)
    names = _NAMES.match(message)
    begin = names.end() if names else 0
    before, quote, rest = message[begin:].partition(" for value " if " for value " in message else "'")
    if not quote:
        return message
    after = _AFTER_VALUE.fullmatch(rest)
    return message[:begin] + before.rstrip(" :") + (after[1] if after else "")


def start_problem(error: Exception) -> str:
    """Why a service can't begin to use its schema; of a refused login as MySQL says it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, MySQLError) and original.args and original.args[0] in _LOGIN_CODES:
        return f"MySQL: {original.args[-1]}"
    return str(translated(error, of_row=False)) if isinstance(error, DBAPIError) else error_message(error)
