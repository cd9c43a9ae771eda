/* For tests only: Wine before 9 has no bcryptprimitives.dll, of which Rust's standard library needs one function. */
#include <windows.h>
#include <bcrypt.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE octets, SIZE_T len)
{
    while (len > 0) {
        ULONG part = len > 0x1000000 ? 0x1000000 : (ULONG)len;
        if (BCryptGenRandom(NULL, octets, part, BCRYPT_USE_SYSTEM_PREFERRED_RNG) != 0)
            return FALSE;
        octets += part;
        len -= part;
    }
    return TRUE;
}
