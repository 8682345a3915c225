"""HTTP endpoint of the registration."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from auth_service.client_info import ClientInfoDep
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.registration.dependencies import RegistrationServiceDep
from auth_service.registration.problems import REGISTRATION_PROBLEMS
from auth_service.registration.schemas import ACCEPTED_RESPONSE, Registered, Registration, RegistrationAccepted
from auth_service.sessions.authentication import OptionalCaller
from auth_service.sessions.schemas import NO_STORE, TOKENS_RESPONSE
from auth_service.users.schemas import UserProfile
from service_kit.openapi import TOKEN_IS_OPTIONAL, also_needs
from service_kit.problems import problem_responses
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.roles import Scope
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["accounts"])

_USER_ID = {"path.user_id": "$response.body#/user/id"}
_REGISTERED_RESPONSE = {
    **TOKENS_RESPONSE,
    "links": {
        **TOKENS_RESPONSE["links"],
        "log_in": {
            "operationId": "log_in",
            "requestBody": {"login": "$request.body#/username", "password": "$request.body#/password"},
        },
        "read": {"operationId": "read_user", "parameters": _USER_ID},
        "change": {"operationId": "change_user", "parameters": _USER_ID},
        "delete": {"operationId": "delete_user", "parameters": _USER_ID},
    },
}


@router.post(
    "/register",
    status_code=201,
    response_model=Registered,
    summary="Sign up",
    description=(
        "Also logs the user in: the response contains tokens. A `role` other than customer needs the scope "
        "`users:write`, and your `current_password`."
    ),
    responses={
        201: _REGISTERED_RESPONSE,
        202: ACCEPTED_RESPONSE,
        **problem_responses(InvalidToken, ReauthenticationRequired, *REGISTRATION_PROBLEMS),
    },
    openapi_extra=TOKEN_IS_OPTIONAL | also_needs(Scope.USERS_WRITE, "for a `role` other than customer"),
)
async def register(
    *,
    response: Response,
    body: Registration,
    caller: OptionalCaller,
    registrations: RegistrationServiceDep,
    client: ClientInfoDep,
    report: ReportRateLimitDep,
) -> Registered | JSONResponse:
    limit = await registrations.take_attempt(client)
    report(limit)
    registered = await registrations.register(body, caller, client, rank=limit.used - 1)
    if registered is None:
        return JSONResponse(RegistrationAccepted().model_dump(), 202, dict(response.headers))
    user, tokens = registered
    response.headers.update(NO_STORE)
    return Registered(user=UserProfile.model_validate(user), **tokens.model_dump())
