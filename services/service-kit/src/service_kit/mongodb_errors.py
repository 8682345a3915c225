"""Whether an error of MongoDB's driver means that MongoDB is unavailable. Needs the `mongodb` extra.

Source: MongoDB's `src/mongo/base/error_codes.yml` (6.0 to 9.0).
"""

from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure, PyMongoError, WTimeoutError

# The server, its replica set, locks and limits, or the connection.
DEPENDENCY_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        11,  # UserNotFound
        17,  # ProtocolError
        18,  # AuthenticationFailed
        24,  # LockTimeout
        43,  # CursorNotFound
        46,  # LockBusy
        50,  # MaxTimeMSExpired
        63,  # StaleShardVersion
        64,  # WriteConcernTimeout
        70,  # ShardNotFound
        71,  # ReplicaSetNotFound
        74,  # NodeNotFound
        75,  # WriteConcernLegacyOK
        76,  # NoReplicationEnabled
        77,  # OperationIncomplete
        79,  # UnknownReplWriteConcern
        82,  # NoProgressMade
        83,  # RemoteResultsUnavailable
        89,  # NetworkTimeout
        90,  # CallbackCanceled
        91,  # ShutdownInProgress
        93,  # InvalidReplicaSetConfig
        94,  # NotYetInitialized
        95,  # NotSecondary
        96,  # OperationFailed
        100,  # UnsatisfiableWriteConcern
        101,  # OutdatedClient
        106,  # DistributedClockSkewed
        107,  # LockFailed
        109,  # ConfigurationInProgress
        112,  # WriteConflict
        117,  # ConflictingOperationInProgress
        123,  # NotAReplicaSet
        125,  # CommandFailed
        128,  # LockNotFound
        129,  # LockStateChangeFailed
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        135,  # StaleTerm
        140,  # InvalidSSLConfiguration
        141,  # SSLHandshakeFailed
        145,  # PooledConnectionsDropped
        146,  # ExceededMemoryLimit
        148,  # ReadConcernMajorityNotEnabled
        149,  # NoConfigPrimary
        150,  # StaleEpoch
        155,  # CannotApplyOplogWhilePrimary
        172,  # TransportSessionClosed
        173,  # TransportSessionNotFound
        174,  # TransportSessionUnknown
        175,  # QueryPlanKilled
        176,  # FileOpenFailed
        188,  # IncompatibleServerVersion
        189,  # PrimarySteppedDown
        190,  # MasterSlaveConnectionFailure
        194,  # BalancerInterrupted
        199,  # ReplicaSetMonitorRemoved
        202,  # NetworkInterfaceExceededTimeLimit
        203,  # ShardingStateNotInitialized
        204,  # TimeProofMismatch
        205,  # ClusterTimeFailsRateLimiter
        206,  # NoSuchSession
        208,  # TooManyLocks
        209,  # StaleClusterTime
        210,  # CannotVerifyAndSignLogicalTime
        211,  # KeyNotFound
        213,  # DuplicateSession
        214,  # AuthenticationRestrictionUnmet
        215,  # DatabaseDropPending
        216,  # ElectionInProgress
        217,  # IncompleteTransactionHistory
        218,  # UpdateOperationFailed
        223,  # IllegalOpMsgFlag
        225,  # TransactionTooOld
        226,  # AtomicityFailure
        228,  # SessionTransferIncomplete
        230,  # DNSHostNotFound
        231,  # DNSProtocolError
        233,  # TooManyDocumentSequences
        237,  # CursorKilled
        239,  # SnapshotTooOld
        240,  # DNSRecordTypeMismatch
        246,  # SnapshotUnavailable
        249,  # StaleDbVersion
        250,  # StaleChunkHistory
        251,  # NoSuchTransaction
        256,  # TransactionCommitted
        258,  # UnknownFeatureCompatibilityVersion
        259,  # KeyedExecutorRetry
        261,  # TooManyLogicalSessions
        262,  # ExceededTimeLimit
        264,  # TooManyFilesOpen
        267,  # PreparedTransactionInProgress
        272,  # MigrationConflict
        276,  # IndexBuildAborted
        279,  # ClientDisconnect
        281,  # TransactionCoordinatorSteppingDown
        282,  # TransactionCoordinatorReachedAbortDecision
        285,  # IndexBuildAlreadyInProgress
        288,  # ChecksumMismatch
        290,  # TransactionExceededLifetimeLimitSeconds
        292,  # QueryExceededMemoryLimitNoDiskUseAllowed
        299,  # OCSPCertificateStatusRevoked
        301,  # DataCorruptionDetected
        302,  # OCSPCertificateStatusUnknown
        303,  # SplitHorizonChange
        308,  # CurrentConfigNotCommittedYet
        314,  # ObjectIsBusy
        317,  # ConnectionPoolExpired
        319,  # MovePrimaryInProgress
        334,  # MechanismUnavailable
        338,  # ReshardCollectionInProgress
        342,  # ReshardingCriticalSectionTimeout
        343,  # ShardCannotRefreshDueToLocksHeld
        354,  # LoadBalancerSupportMismatch
        355,  # InterruptedDueToStorageChange
        356,  # TxnRetryCounterTooOld
        358,  # InternalTransactionNotSupported
        363,  # RetryableTransactionInProgress
        365,  # TemporarilyUnavailable
        371,  # UserWritesBlocked
        372,  # CloseConnectionForShutdownCommand
        384,  # ConnectionError
        391,  # ReauthenticationRequired
        398,  # StreamTerminated
        402,  # ResourceExhausted
        404,  # LDAPRoleAcquisitionError
        406,  # MigrationBlockingOperationCoordinatorCleaningUp
        407,  # PooledConnectionAcquisitionExceededTimeLimit
        412,  # UpdatesStillPending
        414,  # AddOrRemoveShardInProgress
        433,  # AdmissionQueueOverflow
        449,  # RateLimitExceeded
        450,  # PooledConnectionAcquisitionRejected
        453,  # InterruptedDueToReshardingCriticalSection
        462,  # IngressRequestRateLimitExceeded
        9001,  # SocketException
        10058,  # LegacyNotPrimary
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        12586,  # BackgroundOperationInProgressForDatabase
        12587,  # BackgroundOperationInProgressForNamespace
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
        46841,  # ClientMarkedKilled
        50768,  # NotARetryableWriteCommand
        50915,  # BackupCursorOpenConflictWithCheckpoint
        56846,  # ConfigServerUnreachable
        57986,  # RetryableInternalTransactionNotSupported
        91331,  # RetriableRemoteCommandFailure
        640570,  # IllegalChangeToExpectedShardVersion
        640571,  # IllegalChangeToExpectedDatabaseVersion
        10045600,  # InterruptedDueToFCVChange
    }
)

# While an account is changed, operations fail with 18 on new connections and with this one on others. (In a copy it is
# the fault of a route, so it is not in the list.)
_UNAUTHORIZED = 13


def is_unavailable(error: PyMongoError) -> bool:
    """Whether a retry may succeed without a change of the request.

    So it is while MongoDB is down, electing a primary or too slow, and while it refuses the service's account.
    """
    if isinstance(error, ConnectionFailure | ExecutionTimeout | WTimeoutError):
        return True
    return isinstance(error, OperationFailure) and (error.code == _UNAUTHORIZED or error.code in DEPENDENCY_CODES)
