# Frames that are described in unusual ways, or not at all. Each calls the probe in rdi.
        .intel_syntax noprefix
        .text

        .globl  cfa_in_rbx
        .type   cfa_in_rbx, @function
cfa_in_rbx:
        .cfi_startproc
        push    rbx
        .cfi_def_cfa_offset 16
        .cfi_offset rbx, -16
        lea     rbx, [rsp + 16]
        .cfi_def_cfa rbx, 0
        and     rsp, -64
        sub     rsp, 128
        call    rdi
        lea     rsp, [rbx - 16]
        .cfi_def_cfa rsp, 16
        pop     rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   cfa_in_rbx, . - cfa_in_rbx

        .globl  cfa_in_memory
        .type   cfa_in_memory, @function
cfa_in_memory:
        .cfi_startproc
        lea     rax, [rsp + 8]
        sub     rsp, 88
        and     rsp, -32
        mov     [rsp + 24], rax
        # DW_CFA_def_cfa_expression: breg7 24; deref
        .cfi_escape 0x0f, 3, 0x77, 24, 0x06
        call    rdi
        mov     rsp, [rsp + 24]
        .cfi_def_cfa rsp, 0
        jmp     [rsp - 8]
        .cfi_endproc
        .size   cfa_in_memory, . - cfa_in_memory

        .globl  return_address_moved
        .type   return_address_moved, @function
return_address_moved:
        .cfi_startproc
        push    r12
        .cfi_def_cfa_offset 16
        .cfi_offset r12, -16
        mov     r12, [rsp + 8]
        .cfi_register rip, r12
        mov     qword ptr [rsp + 8], 0
        sub     rsp, 16
        .cfi_def_cfa_offset 32
        call    rdi
        add     rsp, 16
        .cfi_def_cfa_offset 16
        mov     [rsp + 8], r12
        .cfi_offset rip, -8
        pop     r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   return_address_moved, . - return_address_moved

        .globl  cfa_by_arithmetic
        .type   cfa_by_arithmetic, @function
cfa_by_arithmetic:
        .cfi_startproc
        push    rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        sub     rsp, 48
        # breg7 0; const1u 32; lit2; mul; plus
        .cfi_escape 0x0f, 7, 0x77, 0, 0x08, 32, 0x32, 0x1e, 0x22
        call    rdi
        add     rsp, 48
        .cfi_def_cfa rsp, 16
        pop     rbp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   cfa_by_arithmetic, . - cfa_by_arithmetic

        .globl  val_offset
        .type   val_offset, @function
val_offset:
        .cfi_startproc
        push    rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        mov     rbp, rsp
        .cfi_def_cfa_register rbp
        call    inner
        pop     rbp
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        .size   val_offset, . - val_offset

        # Its caller's RBP is where its caller's SP was before the call: CFA + 0.
        .type   inner, @function
inner:
        .cfi_startproc
        sub     rsp, 8
        .cfi_def_cfa_offset 16
        # DW_CFA_val_offset r6, 0
        .cfi_escape 0x14, 6, 0
        xor     ebp, ebp
        call    rdi
        lea     rbp, [rsp + 16]
        .cfi_same_value rbp
        add     rsp, 8
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   inner, . - inner

        .globl  without_description
        .type   without_description, @function
without_description:
        push    rbp
        mov     rbp, rsp
        call    rdi
        pop     rbp
        ret
        .size   without_description, . - without_description

        .globl  without_description_or_frame_pointer
        .type   without_description_or_frame_pointer, @function
without_description_or_frame_pointer:
        push    rbp
        xor     ebp, ebp
        sub     rsp, 48
        call    rdi
        add     rsp, 48
        pop     rbp
        ret
        .size   without_description_or_frame_pointer, . - without_description_or_frame_pointer

        .globl  without_description_wild_frame_pointer
        .type   without_description_wild_frame_pointer, @function
without_description_wild_frame_pointer:
        push    rbp
        lea     rbp, [rsp - 4096]
        sub     rsp, 48
        mov     rax, [rip + without_description@GOTPCREL]
        call    rdi
        add     rsp, 48
        pop     rbp
        ret
        .size   without_description_wild_frame_pointer, . - without_description_wild_frame_pointer
