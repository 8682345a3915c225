"""The own profile, with as many fields as auth-service's."""

from typing import ClassVar

from django.contrib.auth.models import User
from rest_framework.generics import RetrieveAPIView
from rest_framework.serializers import ModelSerializer


class Profile(ModelSerializer):
    class Meta:
        model = User
        fields: ClassVar = [
            "id",
            "username",
            "first_name",
            "email",
            "is_staff",
            "is_active",
            "date_joined",
            "last_login",
        ]


class OwnProfile(RetrieveAPIView):
    serializer_class = Profile

    def get_object(self):
        return self.request.user
